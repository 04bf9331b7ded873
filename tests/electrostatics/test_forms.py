"""Every form against its matrix, which products with unit vectors spell out."""

import pytest
import torch

from cace_qeq.electrostatics.direct import AllPairs
from cace_qeq.electrostatics.forms import Diagonal, Gram, Pairwise, Sum, Uniform
from cace_qeq.electrostatics.waves import Waves

N = 5


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


FIRST, SECOND = torch.tensor([0, 0, 1, 3, 4]), torch.tensor([1, 4, 2, 2, 4])
FORMS = {
    "diagonal": (Diagonal, random(N)),
    "uniform": (Uniform, random(N)),
    "pairwise": (lambda values: Pairwise(values, FIRST, SECOND), random(5)),
    "gram": (Gram, random(N, 2)),
    "waves": (Waves.of, random(N, 3), random(7, 3), random(7).square()),
    "all pairs": (AllPairs, 3 * random(N, 3), random(N).square() + 0.2),
    "sum": (lambda a, b: Sum([Diagonal(a), Gram(b)]), random(N), random(N, 3)),
}


@pytest.fixture(params=FORMS, ids=str)
def case(request):
    make, *parameters = FORMS[request.param]
    return make, parameters


def matrix(form) -> torch.Tensor:
    return torch.stack([form.product(unit) for unit in torch.eye(N, dtype=torch.float64)], dim=1)


def test_the_product_is_linear_and_symmetric(case):
    make, parameters = case
    form = make(*parameters)
    dense, charges = matrix(form), random(N, seed=1)
    assert torch.allclose(dense, dense.T, atol=1e-13)
    assert torch.allclose(form.product(charges), dense @ charges, atol=1e-12)


def test_the_form_is_added_to_a_matrix(case):
    make, parameters = case
    form, start = make(*parameters), random(N, N, seed=4)
    written = start.clone()
    form.add_to(written)
    assert torch.allclose(written - start, matrix(form), rtol=0, atol=1e-13)


def test_gradients_are_those_of_the_bilinear_form(case):
    make, parameters = case
    left, right, step = random(N, seed=1), random(N, seed=2), 1e-4
    slopes = make(*parameters).gradients(left, right)
    for index, (parameter, slope) in enumerate(zip(parameters, slopes, strict=True)):
        direction = random(*parameter.shape, seed=3)

        def value(amount, index=index, direction=direction):
            moved = list(parameters)
            moved[index] = moved[index] + amount * direction
            return float(left @ make(*moved).product(right))

        numerical = (8 * (value(step) - value(-step)) - (value(2 * step) - value(-2 * step))) / (12 * step)
        assert (slope * direction).sum().item() == pytest.approx(numerical, rel=1e-8)


def test_one_vector_twice_is_no_special_case(case):
    make, parameters = case
    left = random(N, seed=1)
    for same, other in zip(
        make(*parameters).gradients(left, left), make(*parameters).gradients(left, left.clone()), strict=True
    ):
        assert torch.allclose(same, other, atol=1e-13)


def test_gradients_are_differentiable(case):
    make, parameters = case
    inputs = tuple(value.clone().requires_grad_() for value in (*parameters, random(N, seed=1), random(N, seed=2)))
    assert torch.autograd.gradcheck(lambda *values: make(*values[:-2]).gradients(*values[-2:]), inputs, fast_mode=True)


def test_the_energy_of_given_charges(case):
    make, parameters = case
    charges = random(N, seed=1)
    assert make(*parameters).energy(charges).item() == pytest.approx(
        float(charges @ matrix(make(*parameters)) @ charges) / 2, rel=1e-12
    )
    inputs = tuple(value.clone().requires_grad_() for value in (*parameters, charges))
    value = make(*inputs[:-1]).energy(inputs[-1])
    *slopes, potential = torch.autograd.grad(value, inputs)
    for slope, expected in zip(slopes, make(*parameters).gradients(charges, charges), strict=True):
        assert torch.allclose(slope, expected / 2, atol=1e-12)
    assert torch.allclose(potential, make(*parameters).product(charges), atol=1e-12)
    assert torch.autograd.gradgradcheck(lambda *values: make(*values[:-1]).energy(values[-1]), inputs, fast_mode=True)
