"""Derivatives that are written out: one node of the graph for each of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Derivative(NamedTuple):
    """One input of a function, and what the gradient of its value means for it.

    tensor    the input
    pullback  gradient of the value -> gradient of the input, made of differentiable operations
    """

    tensor: Tensor
    pullback: Callable[[Tensor], Tensor]


def with_derivatives(value: Tensor, *derivatives: Derivative) -> Tensor:
    """A value that was computed without a graph, with its derivatives written out.   (explicit_forces, eq. X1)

    Autograd asks a node for the gradients of all inputs that may want one, whether or not anybody asked for
    them. With a node for each input, the gradient of a loss on forces never differentiates by positions again.
    """
    wanted = [derivative for derivative in derivatives if derivative.tensor.requires_grad]
    if not wanted or not torch.is_grad_enabled():
        return value
    if len(wanted) == 1:
        return _Branch.apply(*wanted[0], value)
    nothing = value.new_zeros(()).expand_as(value)  # that no memory is spent on
    return _Joined.apply(value, *(_Branch.apply(*each, nothing) for each in wanted))


class _Branch(torch.autograd.Function):
    """The value; the gradient that arrives at it is pulled back."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, pullback: Callable[[Tensor], Tensor], value: Tensor) -> Tensor:
        ctx.pullback = pullback
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return ctx.pullback(gradient), None, None


class _Joined(torch.autograd.Function):
    """The value; every branch receives its gradient."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, *branches: Tensor) -> Tensor:
        ctx.n_branches = len(branches)
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return None, *(gradient,) * ctx.n_branches
