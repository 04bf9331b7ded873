"""Polynomials of the rows of an array, column by column, with first and second derivatives that are written out.

Rows are (row, column) arrays, a column for each atom and channel; columns do not know of each other. Derivatives
recompute everything from the given rows, block of columns by block of columns, so that temporaries stay small and
nothing but these rows is kept for the backward pass.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import torch
from torch import Tensor


class Polynomials(Protocol):
    """Outputs B(A) of rows A, and derivatives of them.

    In-place operations may touch fresh temporaries that no derivative needs, so that autograd can differentiate
    `gradient_along` once more.

    """

    @property
    def block_columns(self) -> int:
        """Columns evaluated at once on a CPU."""
        ...

    def evaluate(self, rows: Tensor) -> Tensor:
        """(row, column) -> (output, column)"""
        ...

    def gradient(self, rows: Tensor, weights: Tensor) -> Tensor:
        """g·∂B/∂A for weights g, (output, column) -> (row, column)"""
        ...

    def gradient_along(self, rows: Tensor, weights: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
        """Derivatives of sum(direction · gradient) by the rows, (row, column), and by the weights, (output, column).

        The second is the derivative of the outputs along the direction.
        """
        ...


def evaluated(rows: Tensor, polynomials: Polynomials) -> Tensor:
    """Outputs of polynomials, differentiable to any order.

    rows     (row, column)
    returns  (output, column)
    """
    result: Tensor = _Evaluation.apply(rows, polynomials)
    return result


class _Evaluation(torch.autograd.Function):
    """Outputs B(A) of the rows A."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, polynomials: Polynomials) -> Tensor:
        ctx.save_for_backward(rows)
        ctx.polynomials = polynomials
        return joined(polynomials.evaluate(block) for (block,) in blocks(polynomials, rows))

    @staticmethod
    def backward(ctx: Any, weights: Tensor) -> tuple[Tensor, None]:
        (rows,) = ctx.saved_tensors
        return _Gradient.apply(rows, weights, ctx.polynomials), None


class _Gradient(torch.autograd.Function):
    """Gradient g·∂B/∂A of the outputs, as a function of the rows A and of the weights g."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weights: Tensor, polynomials: Polynomials) -> Tensor:
        ctx.save_for_backward(rows, weights)
        ctx.polynomials = polynomials
        return joined(polynomials.gradient(a, g) for a, g in blocks(polynomials, rows, weights))

    @staticmethod
    def backward(ctx: Any, direction: Tensor) -> tuple[Tensor, Tensor, None]:
        parts = blocks(ctx.polynomials, *ctx.saved_tensors, direction)
        pairs = [ctx.polynomials.gradient_along(*part) for part in parts]
        return joined(first for first, _ in pairs), joined(second for _, second in pairs), None


def blocks(polynomials: Polynomials, *arrays: Tensor) -> Iterable[tuple[Tensor, ...]]:
    """The same columns of each array, a block at a time on a CPU and all at once elsewhere."""
    size = polynomials.block_columns
    if arrays[0].shape[1] <= size or arrays[0].device.type != "cpu":
        return [arrays]
    return zip(*(array.split(size, dim=1) for array in arrays), strict=True)


def joined(parts: Iterable[Tensor]) -> Tensor:
    """Blocks side by side again."""
    first, *others = parts
    return torch.cat([first, *others], dim=1) if others else first
