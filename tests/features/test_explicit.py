import torch

from cace_qeq.features.explicit import Derivative, with_derivatives


def test_each_input_gets_its_own_gradient():
    x, y = torch.tensor(2.0, requires_grad=True), torch.tensor(3.0, requires_grad=True)
    product = with_derivatives((x * y).detach(), Derivative(x, lambda g: g * y), Derivative(y, lambda g: g * x))
    assert torch.autograd.grad(product, (x, y), create_graph=True) == (y, x)


def test_a_value_without_anything_to_differentiate_stays_as_it_is():
    x = torch.tensor(2.0)
    assert not with_derivatives(x, Derivative(x, lambda g: g)).requires_grad
    with torch.no_grad():
        value = with_derivatives(x, Derivative(torch.ones((), requires_grad=True), lambda g: g))
    assert not value.requires_grad
