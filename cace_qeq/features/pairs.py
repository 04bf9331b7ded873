"""Radial functions and monomials of every pair in one table, with derivatives by the displacement written out.

Of the monomials only those without z², on which the others depend: 16 of 20 up to degree 3, 49 of 84 up to degree 6.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import torch
from torch import Tensor

from cace_qeq.features.densities import Block, assembled
from cace_qeq.features.explicit import Derivative, with_derivatives
from cace_qeq.features.monomials import Exponents, independent_exponents, independent_monomials
from cace_qeq.features.radial import radial_functions, radial_slopes


@dataclass(frozen=True)
class PairFunctions:
    """Bessel functions times the envelope, then independent monomials of the direction: densities are made of them.

    cutoff    Å
    n_radial  number of Bessel functions
    l_max     highest degree of the monomials
    blocks    rows that are treated together
    """

    cutoff: float
    n_radial: int
    l_max: int
    blocks: tuple[Block, ...]

    def __call__(self, displacements: Tensor) -> Tensor:
        """The table.

        displacements  (atom, 3, slot)  Å  from receiver to neighbour, beyond the cutoff in padding
        returns        (atom, radial + monomial, slot)  zeros beyond the width of a block
        """
        with torch.no_grad():
            table = self.blocked(self.functions, displacements)
        pullback = partial(self.pulled_back, displacements)
        return with_derivatives(table, Derivative(displacements, pullback))

    def pulled_back(self, displacements: Tensor, gradient: Tensor) -> Tensor:
        """Gradient by the displacements from that by the table.   (docs/explicit_forces, eq. 5)

        gradient  (atom, radial + monomial, slot)
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

    def blocked(self, function: Callable[..., Tensor], *tables: Tensor) -> Tensor:
        """A function of tables (atom, component, slot), block by block; zeros beyond the width of a block."""
        parts = (function(*(block.of(table) for table in tables)) for block in self.blocks)
        return assembled(self.blocks, parts, tables[0].shape[2], axis=2)

    def functions(self, vectors: Tensor) -> Tensor:
        """One block of the table."""
        distance, direction = polar(vectors)
        radial = radial_functions(distance, self.cutoff, self.n_radial)
        return torch.cat([radial, independent_monomials(direction, self.l_max, dim=1)], dim=1)

    def forces(self, vectors: Tensor, gradient: Tensor) -> Tensor:
        """One block of the gradient: along the pair from the radial functions, across it from the monomials."""
        distance, direction = polar(vectors)
        by_radial, by_monomials = gradient[:, : self.n_radial], gradient[:, self.n_radial :]
        along = (by_radial * radial_slopes(distance, self.cutoff, self.n_radial)).sum(1, keepdim=True)
        if self.l_max == 0:
            return along * direction
        rule = differentiation(self.l_max, vectors.dtype, vectors.device)
        lower = independent_monomials(direction, self.l_max - 1, dim=1).unsqueeze(1)
        raised = by_monomials.index_select(1, rule.higher).unflatten(1, (3, -1))
        across = (raised * rule.higher_exponents * lower).sum(2)
        return direction * (along - (across * direction).sum(1, keepdim=True) / distance) + across / distance

    def changes(self, vectors: Tensor, change: Tensor) -> Tensor:
        """One block of the change of the table with that of the displacements.   (docs/explicit_forces, eq. 6)"""
        distance, direction = polar(vectors)
        along = (direction * change).sum(1, keepdim=True)
        radial = along * radial_slopes(distance, self.cutoff, self.n_radial)
        turn = (change - direction * along) / distance
        rule = differentiation(self.l_max, vectors.dtype, vectors.device)
        lower = independent_monomials(direction, max(self.l_max - 1, 0), dim=1)
        lowered = lower.index_select(1, rule.lower).unflatten(1, (3, -1))
        return torch.cat([radial, (lowered * rule.lower_exponents * turn.unsqueeze(2)).sum(1)], dim=1)


def polar(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Length (row, 1, slot) and direction of vectors (row, 3, slot)."""
    distance = vectors.square().sum(1, keepdim=True).sqrt()
    return distance, vectors / distance


@dataclass(frozen=True)
class Differentiation:
    """Derivatives of monomials, ∂M_m/∂u_x = i M_(i-1, j, k), by direction x, y, z.

    higher            (3 · lower monomial,)        monomial whose derivative is each of those below the highest degree,
                                                   the first where there is none
    higher_exponents  (1, 3, lower monomial, 1)    and its exponent
    lower             (3 · monomial,)              monomial that the derivative of each is, the first where it is zero
    lower_exponents   (1, 3, monomial, 1)          and the exponent
    """

    higher: Tensor
    higher_exponents: Tensor
    lower: Tensor
    lower_exponents: Tensor


@cache
def differentiation(l_max: int, dtype: torch.dtype, device: torch.device) -> Differentiation:
    monomials_of = independent_exponents(l_max)
    row = {exponents: index for index, exponents in enumerate(monomials_of)}
    below = independent_exponents(l_max - 1) if l_max else ()
    higher = [[row.get(moved(exponents, axis, 1), 0) for exponents in below] for axis in range(3)]
    lower = [[row.get(moved(exponents, axis, -1), 0) for exponents in monomials_of] for axis in range(3)]
    exponents_of = torch.tensor(monomials_of, dtype=dtype, device=device).T
    higher_index, lower_index = (torch.tensor(table, device=device) for table in (higher, lower))
    return Differentiation(
        higher_index.flatten(),
        exponents_of.gather(1, higher_index.long())[None, :, :, None],
        lower_index.flatten(),
        exponents_of[None, :, :, None],
    )


def moved(exponents: Exponents, axis: int, step: int) -> Exponents:
    x, y, z = (exponent + step * (axis == index) for index, exponent in enumerate(exponents))
    return x, y, z
