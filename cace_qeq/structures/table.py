"""Neighbours as a table, and the displacements to them: one component after the other, as single numbers are gathered
several times as fast as rows of three."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

PADDING_DISTANCE = 1000.0  # Å; beyond every cutoff, so that padding contributes exact zeros


@dataclass(frozen=True)
class Neighbors:
    """Neighbours within the cutoff as a table, one row per receiver, padded to the longest row or a little beyond it.

    index  (atom, slot)     int64  the neighbour b; the receiver itself in padding
    shift  (atom, slot, 3)  int64  lattice vectors added to the neighbour
    mask   (atom, slot)     bool   False in padding
    """

    index: Tensor
    shift: Tensor
    mask: Tensor

    @cached_property
    @torch.inference_mode(False)
    def steps(self) -> Tensor:
        """(atom, 3, slot)  float64  the shifts"""
        return self.shift.transpose(1, 2).to(torch.float64, memory_format=torch.contiguous_format)

    @cached_property
    @torch.inference_mode(False)
    def padding(self) -> Tensor:
        """(atom, 1, slot)  bool"""
        return ~self.mask.unsqueeze(1)

    def displacements(self, positions: Tensor, lattice: Tensor | None) -> Tensor:
        """From each receiver to its neighbours, PADDING_DISTANCE along each axis in padding.

        positions  (atom, 3)        Å
        lattice    (atom, 3, 3)     Å, the cell that each is in; None where none is periodic
        returns    (atom, 3, slot)  Å, differentiable to any order
        """
        found: Tensor = _Displacements.apply(positions, lattice, self)
        return found.masked_fill(self.padding, PADDING_DISTANCE)


class _Displacements(torch.autograd.Function):
    """r_b + shift.cell - r_a, linear in positions and lattice: the backward is the transpose."""

    @staticmethod
    def forward(ctx: Any, positions: Tensor, lattice: Tensor | None, table: Neighbors) -> Tensor:
        ctx.table, ctx.periodic = table, lattice is not None
        components = [_component(line.contiguous(), table.index) for line in positions.unbind(1)]
        if lattice is not None:
            for component, columns in zip(components, lattice.unbind(2), strict=True):
                for axis in range(3):
                    component.addcmul_(table.steps[:, axis], columns[:, axis : axis + 1])
        return torch.stack(components, dim=1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        by_positions, by_lattice = _Collected.apply(gradients[0], ctx.table)
        return by_positions, by_lattice if ctx.periodic else None, None


class _Collected(torch.autograd.Function):
    """The transpose: what acts on displacements, (atom, 3, slot), as what acts on positions and lattice."""

    @staticmethod
    def forward(ctx: Any, forces: Tensor, table: Neighbors) -> tuple[Tensor, Tensor]:
        ctx.table, senders = table, table.index.flatten()
        on_senders = [
            force.new_zeros(len(force)).scatter_add_(0, senders, force.flatten()) for force in forces.unbind(1)
        ]
        return torch.stack(on_senders, dim=1) - forces.sum(2), table.steps @ forces.transpose(1, 2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _Displacements.apply(*gradients, ctx.table), None


def _component(line: Tensor, index: Tensor) -> Tensor:
    """(atom,) -> (atom, slot)"""
    return line.index_select(0, index.flatten()).view(index.shape).sub_(line.unsqueeze(1))
