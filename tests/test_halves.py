"""Operations recorded with their derivatives, in two parts that nothing is done twice in."""

import torch
from torch import Tensor

from cace_qeq.compilation.code import recorded
from cace_qeq.compilation.halves import halves

WEIGHTS = torch.tensor([[0.5, -1.0, 2.0], [1.0, 0.3, -0.2]], dtype=torch.float64)


@torch.enable_grad()
def pulled_back(place: Tensor, shift: Tensor, arriving: Tensor) -> tuple[Tensor, Tensor]:
    """With a constant that both parts use."""
    place = place.detach().requires_grad_()
    values = (place @ WEIGHTS.T + shift).exp() @ WEIGHTS
    return values, *torch.autograd.grad(values, place, arriving)


def operations(module: torch.fx.GraphModule) -> list[str]:
    return [str(node.target) for node in module.graph.nodes if node.op == "call_function"]


def test_halves_say_what_the_whole_says_and_do_nothing_twice():
    place, shift, arriving = torch.randn(3, 4, 3, dtype=torch.float64).unbind(0)
    shift = shift[:, :2]
    first, second = halves(recorded(pulled_back, place, shift, torch.zeros_like(arriving)))
    values, *kept = first(place, shift)
    (slopes,) = second(*kept, place, shift, arriving)
    expected = pulled_back(place, shift, arriving)
    torch.testing.assert_close((values, slopes), expected, rtol=1e-13, atol=1e-13)
    assert "aten.exp.default" in operations(first) and "aten.exp.default" not in operations(second)


def test_a_gradient_that_needs_no_values_keeps_none():
    whole = recorded(lambda place, arriving: (place * 2, arriving * 2), torch.zeros(3), torch.zeros(3))
    first, second = halves(whole)
    assert len(first(torch.ones(3))) == 1
    torch.testing.assert_close(second(torch.ones(3), torch.ones(3)), (torch.full((3,), 2.0),))
