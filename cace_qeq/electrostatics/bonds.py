"""Charge that flows along bonds alone, and dies with their length: split charges.   (boundaries, B10 to B13)

Nistor et al., doi 10.1063/1.2346671; Verstraelen et al., doi 10.1063/1.4791569. Plain equilibration is the limit of
soft bonds between all atoms.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from cace_qeq.electrostatics.constraints import Constraints, vector_times
from cace_qeq.electrostatics.geometry import ChargeGeometry
from cace_qeq.electrostatics.kernels import Background
from cace_qeq.electrostatics.matrix import coulomb_matrix
from cace_qeq.electrostatics.qeq import ChargeParameters, Equilibrium


@dataclass(frozen=True)
class Bonds:
    """Between which atoms charge flows, and how easily. Each bond once or in both directions; halves add up.

    center    (bond,)  int64
    neighbor  (bond,)  int64
    softness  (bond,)  e²/eV, half of s = 1 / κ: a bond that carries the charge p costs κ p² / 2
    """

    center: Tensor
    neighbor: Tensor
    softness: Tensor

    def energies(self, cost: Tensor) -> Tensor:
        """(atom,)  eV, what the flow costs, κ p² / 2 with p = -s (v_b - v_a), half at either end

        cost  (atom,)  eV/e, v, the slope of all other energy in the charges
        """
        halves = self.softness * (cost[self.neighbor] - cost[self.center]).square() / 4
        return torch.zeros_like(cost).index_add(0, self.center, halves).index_add(0, self.neighbor, halves)


def cut_between(bonds: Bonds, geometry: ChargeGeometry, constraints: Constraints) -> Bonds:
    """Without flow between fragments, so that every constraint keeps what it starts with.

    Raises ValueError where electrodes exchange charge, since none of it flows along bonds.
    """
    in_fragments = constraints.rows[:, 1:].sum((1, 2))
    if ((geometry.sizes > in_fragments) & ~constraints.active[:, 0]).any():
        raise ValueError(
            'electrodes exchange charge with a source, but with charge_flow="bonds" charge flows along bonds alone; '
            'expected fragments of given charge, or a model with charge_flow="free"'
        )
    member = geometry.unpadded(constraints.rows[:, 1:].transpose(1, 2))
    together = (member[bonds.center] == member[bonds.neighbor]).all(-1)
    return replace(bonds, softness=bonds.softness * together)


def laplacian(geometry: ChargeGeometry, bonds: Bonds) -> Tensor:
    """(structure, N, N)  e²/eV, L_ab = -s_ab with rows that add up to zero"""
    size = geometry.largest
    place = geometry.slot[bonds.center] * size + geometry.slot[bonds.neighbor] % size
    flat = bonds.softness.new_zeros(geometry.n_structures * size * size).index_add(0, place, bonds.softness)
    table = flat.view(-1, size, size)
    table = table + table.transpose(1, 2)
    return torch.diag_embed(table.sum(2)) - table  # an atom's own images drop out


def equilibrate_bonds(
    geometry: ChargeGeometry,
    parameters: ChargeParameters,
    constraints: Constraints,
    bonds: Bonds,
    background: Background = "point",
) -> Equilibrium:
    """Minimise χ.q + q.K q / 2 + Σ κ p² / 2 over the charges p on bonds, with q = q⁰ + what flows along them.

    Each fragment of the constraints starts with equal charges, all other atoms with what is left of the total.

    bonds  cut between fragments (`cut_between`)

    At the minimum p = -s (v_b - v_a) with v = χ + K q, so that (1 + L K) q = q⁰ - L χ: a system of the size of the
    charges, whatever the number of bonds, that stays well behaved when bonds break and s → 0.
    """
    start, softness = constraints.smallest(constraints.values), laplacian(geometry, bonds)
    electronegativity = geometry.padded(parameters.electronegativity, 0.0)
    hardness = geometry.padded(parameters.hardness, 1.0)
    matrix = coulomb_matrix(geometry, parameters.width, background) + torch.diag_embed(hardness)
    one = torch.eye(matrix.shape[1], dtype=matrix.dtype, device=matrix.device)
    right = start - vector_times(electronegativity, softness)
    table = torch.linalg.solve(one + softness @ matrix, right)
    energy = _StationaryEnergy.apply(matrix, electronegativity, start, softness, table)
    charges = geometry.unpadded(table)
    cost = geometry.unpadded(electronegativity + vector_times(table, matrix))
    potential = cost - parameters.electronegativity - parameters.hardness * charges
    chemical = constraints.multipliers(-geometry.padded(cost, 0.0))
    return Equilibrium(charges, chemical, energy, potential, geometry.summed(charges * potential) / 2)


class _StationaryEnergy(torch.autograd.Function):
    """χ.q + q.K q / 2 + v.L v / 2 at its minimum: dE/dK = q qᵀ / 2, dE/dχ = q, dE/dq⁰ = v, dE/dL = -v vᵀ / 2.

    With v = χ + K q; these hold q with its graph, so higher orders see the response of the charges.
    """

    @staticmethod
    def forward(
        ctx: Any,
        matrix: Tensor,
        electronegativity: Tensor,
        start: Tensor,
        laplacian: Tensor,
        charges: Tensor,
    ) -> Tensor:
        ctx.save_for_backward(matrix, electronegativity, charges)
        product = vector_times(charges, matrix)
        cost = electronegativity + product
        on_bonds = (cost * vector_times(cost, laplacian)).sum(-1)
        return (charges * (electronegativity + product / 2)).sum(-1) + on_bonds / 2

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, None]:
        matrix, electronegativity, charges = ctx.saved_tensors
        cost = electronegativity + vector_times(charges, matrix)
        scale = gradients[0].unsqueeze(-1)
        by_matrix = (scale * charges / 2).unsqueeze(-1) * charges.unsqueeze(-2)
        by_laplacian = -(scale * cost / 2).unsqueeze(-1) * cost.unsqueeze(-2)
        return by_matrix, scale * charges, scale * cost, by_laplacian, None
