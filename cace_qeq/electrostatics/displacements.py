"""Distances of pairs of atoms, one component after the other: single numbers are gathered several times as fast as rows
of three."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class PairIndex:
    """Who is paired with whom in one periodic structure.

    first    (pair,)    int64
    second   (pair,)    int64
    shift    (3, pair)  float64, lattice vectors added to the second
    n_atoms
    """

    first: Tensor
    second: Tensor
    shift: Tensor
    n_atoms: int


def squared_distances(positions: Tensor, cell: Tensor, index: PairIndex) -> Tensor:
    """Differentiable to any order.

    positions  (atom, 3)  Å
    cell       (3, 3)     Å, rows are lattice vectors
    returns    (pair,)    Å²
    """
    squared: Tensor = _SquaredNorm.apply(*_Displacements.apply(positions, cell, index))
    return squared


class _Displacements(torch.autograd.Function):
    """r_second + shift.cell - r_first, linear in both: the backward is the transpose.  -> three of (pair,)"""

    @staticmethod
    def forward(ctx: Any, positions: Tensor, cell: Tensor, index: PairIndex) -> tuple[Tensor, ...]:
        ctx.index = index
        return tuple(
            _component(line, column, index) for line, column in zip(positions.unbind(1), cell.unbind(1), strict=True)
        )

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return *_Collected.apply(ctx.index, *gradients), None


class _Collected(torch.autograd.Function):
    """The transpose: what acts on pairs, three of (pair,), as what acts on atoms and cell.  -> (atom, 3), (3, 3)"""

    @staticmethod
    def forward(ctx: Any, index: PairIndex, *forces: Tensor) -> tuple[Tensor, Tensor]:
        ctx.index = index
        on_atoms = torch.stack([_on_atoms(force, index) for force in forces], dim=1)
        return on_atoms, torch.stack([index.shift @ force for force in forces], dim=1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return None, *_Displacements.apply(*gradients, ctx.index)


def _component(line: Tensor, column: Tensor, index: PairIndex) -> Tensor:
    """line (atom,) and column (3,) of the positions and the cell -> (pair,)"""
    line = line.contiguous()
    values = line.index_select(0, index.second).sub_(line.index_select(0, index.first))
    for shift, step in zip(index.shift, column, strict=True):
        values.addcmul_(shift, step)
    return values


def _on_atoms(force: Tensor, index: PairIndex) -> Tensor:
    """(pair,) -> (atom,)"""
    behind, ahead = force.new_zeros(2, index.n_atoms)
    return ahead.scatter_add_(0, index.second, force).sub_(behind.scatter_add_(0, index.first, force))


class _SquaredNorm(torch.autograd.Function):
    """x² + y² + z²"""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        ctx.save_for_backward(x, y, z)
        return (x * x).addcmul_(y, y).addcmul_(z, z)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        twice = 2 * gradients[0]
        return tuple(twice * component for component in ctx.saved_tensors)
