"""Radial and angular functions of every pair in one table, with derivatives by the displacement written out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from cace_qeq.features.angular import AngularFunctions
from cace_qeq.features.densities import Block, assembled
from cace_qeq.features.explicit import Derivative, with_derivatives
from cace_qeq.features.radial import RadialFunctions


@dataclass(frozen=True)
class PairFunctions:
    """Radial functions, then angular ones: densities are made of them.

    blocks  rows that are treated together
    """

    radial: RadialFunctions
    angular: AngularFunctions
    blocks: tuple[Block, ...]

    def __call__(self, displacements: Tensor) -> Tensor:
        """The table.

        displacements  (atom, 3, slot)  Å  from receiver to neighbour, beyond the cutoff in padding
        returns        (atom, radial + angular, slot)  zeros beyond the width of a block
        """
        with torch.no_grad():
            table = self.blocked(self.functions, displacements)
        pullback = partial(self.pulled_back, displacements)
        return with_derivatives(table, Derivative(displacements, pullback))

    def pulled_back(self, displacements: Tensor, gradient: Tensor) -> Tensor:
        """Gradient by the displacements from that by the table.   (explicit_forces, eq. X5)

        gradient  (atom, radial + angular, slot)
        returns   (atom, 3, slot)
        """
        with torch.no_grad():
            result = self.blocked(self.forces, displacements, gradient)
        return with_derivatives(
            result,
            Derivative(gradient, lambda change: self.blocked(self.changes, displacements, change)),
            Derivative(displacements, lambda change: self.curvature(displacements, gradient, change)),
        )

    def curvature(self, displacements: Tensor, gradient: Tensor, change: Tensor) -> Tensor:
        """Second derivatives by displacements, which no training asks for, are left to autograd."""
        keep_graph = torch.is_grad_enabled()
        with torch.enable_grad():
            place = displacements.view_as(displacements)  # where the gradient's own dependence does not lead
            forces = self.blocked(self.forces, place, gradient)
            return torch.autograd.grad(forces, place, change, create_graph=keep_graph)[0]

    def blocked(self, function: Callable[..., Sequence[Tensor]], *tables: Tensor) -> Tensor:
        """A function of tables (atom, component, slot), block by block; zeros beyond the width of a block."""
        parts = (function(*(block.of(table) for table in tables)) for block in self.blocks)
        return assembled(self.blocks, parts, tables[0].shape[2], axis=2)

    def functions(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """One block of the table."""
        distance, direction = polar(vectors)
        return self.radial(distance), self.angular(direction)

    def forces(self, vectors: Tensor, gradient: Tensor) -> tuple[Tensor]:
        """One block of the gradient: along the pair from the radial functions, across it from the angular ones."""
        distance, direction = polar(vectors)
        by_radial, by_angular = gradient.tensor_split([len(self.radial.amplitudes)], dim=1)
        along = (by_radial * self.radial.slopes(distance)).sum(1, keepdim=True)
        across = self.angular.gradient(direction, by_angular) / distance
        return (torch.addcmul(across, direction, along - (across * direction).sum(1, keepdim=True)),)

    def changes(self, vectors: Tensor, change: Tensor) -> tuple[Tensor, Tensor]:
        """One block of the change of the table with that of the displacements.   (explicit_forces, eq. X6)"""
        distance, direction = polar(vectors)
        along = (direction * change).sum(1, keepdim=True)
        turn = (change - direction * along) / distance
        return along * self.radial.slopes(distance), self.angular.changes(direction, turn)


def polar(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Length (row, 1, slot) and direction of vectors (row, 3, slot)."""
    distance = vectors.square().sum(1, keepdim=True).sqrt()
    return distance, vectors / distance
