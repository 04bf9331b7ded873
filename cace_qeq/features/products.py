"""Evaluation of a program of products, with its first and second derivatives written out.

Rows are (row, column) arrays, a column for each atom and channel; columns do not know of each other.
Written-out derivatives recompute the products from the moments, block of columns by block of columns,
so that temporaries stay in the cache and nothing but the moments is kept for the backward pass.
In-place operations touch fresh temporaries that no derivative needs, so that autograd can differentiate
the second derivatives once more.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from cace_qeq.features.program import Program

BLOCK_COLUMNS = 2048
"""Columns evaluated at once on a CPU: 4 MB of temporaries. Measured flat from 2048 to 8192."""


@dataclass(frozen=True, eq=False)
class Stage:
    """One round: row[target] += weight row[left] row[right] for each product.

    left, right, target  (product,)  int64
    weight               (product, 1)
    """

    left: Tensor
    right: Tensor
    target: Tensor
    weight: Tensor


@dataclass(frozen=True, eq=False)
class ProductProgram:
    """Rounds of products, each of which uses rows of earlier rounds only.

    n_moments  rows that are given, the first ones
    n_rows     all rows
    outputs    (output,)  int64
    """

    n_moments: int
    n_rows: int
    stages: tuple[Stage, ...]
    outputs: Tensor

    @staticmethod
    def of(program: Program) -> ProductProgram:
        """A compiled program as tensors; its outputs are the moment of rank 0 and the contractions."""
        stages = [stage_of(program, number) for number in range(1, max(program.stages) + 1)]
        outputs = torch.tensor([0, *program.outputs])
        return ProductProgram(len(program.moments), len(program.sums), tuple(stages), outputs)

    @cache  # noqa: B019  programs are few and live as long as the process
    def to(self, dtype: torch.dtype, device: torch.device) -> ProductProgram:
        """The same for rows of another precision or on another device."""
        stages = tuple(
            Stage(
                stage.left.to(device),
                stage.right.to(device),
                stage.target.to(device),
                stage.weight.to(device, dtype),
            )
            for stage in self.stages
        )
        return ProductProgram(self.n_moments, self.n_rows, stages, self.outputs.to(device))


def stage_of(program: Program, number: int) -> Stage:
    """The products of one round."""
    rows = [row for row, stage in enumerate(program.stages) if stage == number]
    products = [(*pair, row, weight) for row in rows for pair, weight in program.sums[row]]
    left, right, target, weight = torch.tensor(products).T.contiguous()
    return Stage(left, right, target, weight.double().unsqueeze(1))


def contract_rows(moments: Tensor, program: ProductProgram) -> Tensor:
    """Outputs of a program, differentiable to any order.

    moments  (moment, column)
    returns  (output, column)
    """
    result: Tensor = Contraction.apply(moments, program)
    return result


class Contraction(torch.autograd.Function):
    """Outputs B(A) of the moments A."""

    @staticmethod
    def forward(ctx: Any, moments: Tensor, program: ProductProgram) -> Tensor:
        ctx.save_for_backward(moments)
        ctx.program = program
        return joined(evaluate(block, program) for (block,) in blocks(moments))

    @staticmethod
    def backward(ctx: Any, output_gradient: Tensor) -> tuple[Tensor, None]:
        (moments,) = ctx.saved_tensors
        return ContractionGradient.apply(moments, output_gradient, ctx.program), None


class ContractionGradient(torch.autograd.Function):
    """Gradient g·∂B/∂A of the outputs, as a function of the moments A and of the weights g."""

    @staticmethod
    def forward(ctx: Any, moments: Tensor, output_gradient: Tensor, program: ProductProgram) -> Tensor:
        ctx.save_for_backward(moments, output_gradient)
        ctx.program = program
        return joined(gradient(a, g, program) for a, g in blocks(moments, output_gradient))

    @staticmethod
    def backward(ctx: Any, direction: Tensor) -> tuple[Tensor, Tensor, None]:
        moments, weights = ctx.saved_tensors
        pairs = [gradient_along(a, g, d, ctx.program) for a, g, d in blocks(moments, weights, direction)]
        return joined(first for first, _ in pairs), joined(second for _, second in pairs), None


def evaluate(moments: Tensor, program: ProductProgram) -> Tensor:
    """Outputs of one block."""
    rows = all_rows(moments, program)
    for stage in program.stages:
        left, right = factors(rows, stage)
        rows.index_add_(0, stage.target, (left * right).mul_(stage.weight))
    return rows.index_select(0, program.outputs)


def gradient(moments: Tensor, output_gradient: Tensor, program: ProductProgram) -> Tensor:
    """Reverse sweep through one block: the gradient of sum(output_gradient · outputs)."""
    rows, tape = all_rows(moments, program), []
    for stage in program.stages:
        left, right = factors(rows, stage)
        tape.append((stage, left, right))
        rows.index_add_(0, stage.target, (left * right).mul_(stage.weight))
    adjoint = torch.zeros_like(rows).index_add_(0, program.outputs, output_gradient)
    for stage, left, right in reversed(tape):
        weight = adjoint.index_select(0, stage.target).mul_(stage.weight)
        adjoint.index_add_(0, stage.left, weight * right)
        adjoint.index_add_(0, stage.right, weight * left)
    return adjoint[: program.n_moments]


def gradient_along(
    moments: Tensor, output_gradient: Tensor, direction: Tensor, program: ProductProgram
) -> tuple[Tensor, Tensor]:
    """Derivatives of sum(direction · gradient) by the moments and by output_gradient, for one block.

    The second is the derivative of the outputs along the direction, carried forward with them; the first
    is the derivative of the reverse sweep along it.
    """
    rows, change, tape = all_rows(moments, program), all_rows(direction, program), []
    for stage in program.stages:
        (left, right), (d_left, d_right) = factors(rows, stage), factors(change, stage)
        tape.append((stage, left, right, d_left, d_right))
        rows.index_add_(0, stage.target, (left * right).mul_(stage.weight))
        change.index_add_(0, stage.target, (d_left * right).addcmul_(left, d_right).mul_(stage.weight))
    adjoint = torch.zeros_like(rows).index_add_(0, program.outputs, output_gradient)
    d_adjoint = torch.zeros_like(rows)
    for stage, left, right, d_left, d_right in reversed(tape):
        weight = adjoint.index_select(0, stage.target).mul_(stage.weight)
        d_weight = d_adjoint.index_select(0, stage.target).mul_(stage.weight)
        adjoint.index_add_(0, stage.left, weight * right)
        adjoint.index_add_(0, stage.right, weight * left)
        d_adjoint.index_add_(0, stage.left, (d_weight * right).addcmul_(weight, d_right))
        d_adjoint.index_add_(0, stage.right, (d_weight * left).addcmul_(weight, d_left))
    return d_adjoint[: program.n_moments], change.index_select(0, program.outputs)


def all_rows(moments: Tensor, program: ProductProgram) -> Tensor:
    """Moments followed by zeros for the rows to come."""
    return torch.nn.functional.pad(moments, (0, 0, 0, program.n_rows - program.n_moments))


def factors(rows: Tensor, stage: Stage) -> tuple[Tensor, Tensor]:
    """Both factors of each product of a round."""
    return rows.index_select(0, stage.left), rows.index_select(0, stage.right)


def blocks(*arrays: Tensor) -> Iterable[tuple[Tensor, ...]]:
    """The same columns of each array, a block at a time on a CPU and all at once elsewhere."""
    n_columns = arrays[0].shape[1]
    size = min(BLOCK_COLUMNS, n_columns) if arrays[0].device.type == "cpu" else n_columns
    return zip(*(array.split(max(size, 1), dim=1) for array in arrays), strict=True)


def joined(parts: Iterable[Tensor]) -> Tensor:
    """Blocks side by side again."""
    first, *others = parts
    return torch.cat([first, *others], dim=1) if others else first
