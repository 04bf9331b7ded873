"""Programs of products: rows that are sums of products of earlier rows, with their derivatives written out.

All products of a round are made at once, by few calls, which pays for few columns and on a GPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import torch
from torch import Tensor

from cace_qeq.features.program import Program
from cace_qeq.features.row_by_row import Product, RowByRow

MANY_COLUMNS = 2500  # from which products are faster one by one: measured for RowByRow
MOST_PRODUCTS = 1500  # that are taken one by one: generated code of more takes longer to make than anyone waits
CALLS_ARE_FREE = ContextVar("CALLS_ARE_FREE", default=False)


@contextmanager
def free_calls() -> Iterator[None]:
    """For operations that are recorded, to be made into code: products are taken one by one."""
    before = CALLS_ARE_FREE.set(True)
    try:
        yield
    finally:
        CALLS_ARE_FREE.reset(before)


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

    @property
    def block_columns(self) -> int:
        return MANY_COLUMNS

    @staticmethod
    def of(program: Program) -> ProductProgram:
        """A compiled program as tensors; its outputs are the moment of rank 0 and the contractions."""
        stages = [stage_of(program, number) for number in range(1, max(program.stages) + 1)]
        outputs = torch.tensor([0, *program.outputs])
        return ProductProgram(len(program.moments), len(program.sums), tuple(stages), outputs)

    def __deepcopy__(self, memo: dict[int, Any]) -> ProductProgram:
        """Itself, so that copies of a model share what `to` has made."""
        return self

    @cache  # noqa: B019  programs are few and live as long as the process
    @torch.inference_mode(False)
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

    def for_columns_of(self, moments: Tensor) -> ProductProgram | RowByRow:
        """Itself, or its products one by one where this is faster: for many columns on a CPU, and in generated code."""
        faster = moments.device.type == "cpu" and (CALLS_ARE_FREE.get() or moments.shape[1] >= MANY_COLUMNS)
        return self.row_by_row if faster and len(self.row_by_row.products) <= MOST_PRODUCTS else self

    @cached_property
    def row_by_row(self) -> RowByRow:
        """The same, one by one."""
        numbers = [[each.tolist() for each in (s.left, s.right, s.target, s.weight)] for s in self.stages]
        products = [Product(*places, *weight) for stage in numbers for *places, weight in zip(*stage, strict=True)]
        return RowByRow(self.n_moments, self.n_rows, tuple(products), tuple(self.outputs.tolist()))

    def evaluate(self, moments: Tensor) -> Tensor:
        """Outputs of one block."""
        rows = self.all_rows(moments)
        for stage in self.stages:
            left, right = factors(rows, stage)
            rows.index_add_(0, stage.target, (left * right).mul_(stage.weight))
        return rows.index_select(0, self.outputs)

    def gradient(self, moments: Tensor, weights: Tensor) -> Tensor:
        """Reverse sweep through one block: the gradient of sum(weights · outputs)."""
        rows, tape = self.all_rows(moments), []
        for stage in self.stages:
            left, right = factors(rows, stage)
            tape.append((stage, left, right))
            rows.index_add_(0, stage.target, (left * right).mul_(stage.weight))
        adjoint = torch.zeros_like(rows).index_add_(0, self.outputs, weights)
        for stage, left, right in reversed(tape):
            weight = adjoint.index_select(0, stage.target).mul_(stage.weight)
            adjoint.index_add_(0, stage.left, weight * right)
            adjoint.index_add_(0, stage.right, weight * left)
        return adjoint[: self.n_moments]

    def gradient_along(self, moments: Tensor, weights: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
        """Derivatives of sum(direction · gradient) by the moments and by weights, for one block.

        The second is the derivative of the outputs along the direction, carried forward with them; the first
        is the derivative of the reverse sweep along it.
        """
        rows, change, tape = self.all_rows(moments), self.all_rows(direction), []
        for stage in self.stages:
            (left, right), (d_left, d_right) = factors(rows, stage), factors(change, stage)
            tape.append((stage, left, right, d_left, d_right))
            rows.index_add_(0, stage.target, (left * right).mul_(stage.weight))
            change.index_add_(0, stage.target, (d_left * right).addcmul_(left, d_right).mul_(stage.weight))
        adjoint = torch.zeros_like(rows).index_add_(0, self.outputs, weights)
        d_adjoint = torch.zeros_like(rows)
        for stage, left, right, d_left, d_right in reversed(tape):
            weight = adjoint.index_select(0, stage.target).mul_(stage.weight)
            d_weight = d_adjoint.index_select(0, stage.target).mul_(stage.weight)
            adjoint.index_add_(0, stage.left, weight * right)
            adjoint.index_add_(0, stage.right, weight * left)
            d_adjoint.index_add_(0, stage.left, (d_weight * right).addcmul_(weight, d_right))
            d_adjoint.index_add_(0, stage.right, (d_weight * left).addcmul_(weight, d_left))
        return d_adjoint[: self.n_moments], change.index_select(0, self.outputs)

    def all_rows(self, moments: Tensor) -> Tensor:
        """Moments followed by zeros for the rows to come."""
        return torch.nn.functional.pad(moments, (0, 0, 0, self.n_rows - self.n_moments))


def stage_of(program: Program, number: int) -> Stage:
    """The products of one round."""
    rows = [row for row, stage in enumerate(program.stages) if stage == number]
    products = [(*pair, row, weight) for row in rows for pair, weight in program.sums[row]]
    left, right, target, weight = torch.tensor(products).T.contiguous()
    return Stage(left, right, target, weight.double().unsqueeze(1))


def factors(rows: Tensor, stage: Stage) -> tuple[Tensor, Tensor]:
    """Both factors of each product of a round."""
    return rows.index_select(0, stage.left), rows.index_select(0, stage.right)
