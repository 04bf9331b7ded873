"""Values and derivatives up to third order, to compare functions that should be equal."""

from collections.abc import Callable

import torch
from torch import Tensor


def random(*shape: int, seed: int) -> Tensor:
    values = torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return values.requires_grad_()


def derivatives(function: Callable[..., Tensor], *inputs: Tensor) -> list[Tensor]:
    """The value, then gradients of squares of gradients with random weights, up to third order."""
    values, found = [function(*inputs)], []
    for order in range(4):
        found += values
        squares = sum(
            (value.square() * random(*value.shape, seed=10 * order + n).detach()).sum()
            for n, value in enumerate(values)
        )
        values = list(torch.autograd.grad(squares, inputs, create_graph=True))
    return found
