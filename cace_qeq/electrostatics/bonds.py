"""Charge that flows along bonds alone, and dies with their length: split charges.   (boundaries, eqs. B10 to B18)

Nistor et al., doi 10.1063/1.2346671; Verstraelen et al., doi 10.1063/1.4791569. Plain equilibration is the limit of
soft bonds between all atoms.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from cace_qeq.electrostatics.circuit import Bonds, Circuit, beginning, shares
from cace_qeq.electrostatics.constraints import vector_times
from cace_qeq.electrostatics.geometry import ChargeGeometry
from cace_qeq.electrostatics.kernels import Background
from cace_qeq.electrostatics.matrix import coulomb_matrix
from cace_qeq.electrostatics.qeq import ChargeParameters, Equilibrium
from cace_qeq.electrostatics.solvers import MatrixError


@dataclass(frozen=True)
class BondEquations:
    """q + L v = q⁰, or v = -λ for atoms of electrodes; Σ q = Q where that is given, else λ = 0.   (boundaries, eq. B18)

    laplacian  (structure, N, N)  e²/eV, L
    start      (structure, N)     e, q⁰ and what electrodes' potentials and fields drive along bonds
    source     (structure, N)     bool
    counted    (structure, N)     one for all atoms where electrodes share a given total charge, else zeros
    total      (structure,)       e, that charge, else zero
    """

    laplacian: Tensor
    start: Tensor
    source: Tensor
    counted: Tensor
    total: Tensor

    def system(self, matrix: Tensor) -> Tensor:
        """(structure, N + 1, N + 1)  that gives q and λ for v = χ + K q

        matrix  (structure, N, N)  K
        """
        source, held = self.source.to(matrix.dtype), self.counted.any(1, keepdim=True).to(matrix.dtype)
        flowing = torch.diag_embed(1 - source) + (1 - source).unsqueeze(2) * (self.laplacian @ matrix)
        block = torch.cat([flowing + source.unsqueeze(2) * matrix, source.unsqueeze(2)], dim=2)
        border = torch.cat([self.counted, 1 - held], dim=1)
        return torch.cat([block, border.unsqueeze(1)], dim=1)

    def right(self, electronegativity: Tensor) -> Tensor:
        """(structure, N + 1)"""
        flowing = self.start - vector_times(electronegativity, self.laplacian)
        return torch.cat([torch.where(self.source, -electronegativity, flowing), self.total.unsqueeze(1)], dim=1)

    def solution(self, matrix: Tensor, electronegativity: Tensor) -> "Flow":
        """With charges and slopes (structure, N); no operation depends on values.

        matrix            (structure, N, N)  K
        electronegativity (structure, N)
        """
        found = torch.linalg.solve(self.system(matrix), self.right(electronegativity))
        charges, shared = found[:, :-1], found[:, -1]
        energy = _StationaryEnergy.apply(
            matrix, electronegativity, self.start, self.total, self.laplacian, charges, shared
        )
        return Flow(charges, electronegativity + vector_times(charges, matrix), shared, energy)

    def residual(self, charges: Tensor, slope: Tensor, multiplier: Tensor) -> Tensor:
        """(structure, N)  e, and eV/e for atoms of electrodes

        charges, slope  (structure, N)  q and v
        multiplier      (structure,)    λ
        """
        flowing = charges - self.start + vector_times(slope, self.laplacian)
        return torch.where(self.source, slope + multiplier.unsqueeze(1), flowing)


def bond_equations(geometry: ChargeGeometry, circuit: Circuit) -> BondEquations:
    """Those that all conditions together make."""
    source = geometry.padded(circuit.source, False)
    fed = source.any(1)
    start = geometry.padded(beginning(geometry, circuit), 0.0)
    counted = circuit.constraints.rows[:, 0] * fed.unsqueeze(1)
    return BondEquations(
        laplacian(geometry, circuit.bonds), start, source, counted, circuit.constraints.values[:, 0] * fed
    )


def laplacian(geometry: ChargeGeometry, bonds: Bonds) -> Tensor:
    """(structure, N, N)  e²/eV, L_ab = -s_ab with rows that add up to zero"""
    size = geometry.largest
    place = geometry.slot[bonds.center] * size + geometry.slot[bonds.neighbor] % size
    flat = bonds.softness.new_zeros(geometry.n_structures * size * size).index_add(0, place, bonds.softness)
    return laplacian_of(flat.view(-1, size, size))


def laplacian_of(softness: Tensor) -> Tensor:
    """(structure, N, N)  L, of what lies between each atom and each other in either direction"""
    table = softness + softness.transpose(1, 2)
    return torch.diag_embed(table.sum(2)) - table  # an atom's own images drop out


def equilibrate_bonds(
    geometry: ChargeGeometry, parameters: ChargeParameters, circuit: Circuit, background: Background = "point"
) -> Equilibrium:
    """Minimise χ.q + q.K q / 2 + Σ κ p² / 2 over the charges p on bonds, with q = q⁰ + what flows along them.

    parameters  of the atoms; χ with what is imposed on it (`potentials.imposed_potential`)

    At the minimum p = s (v_b - v_a) with v = χ + K q, so that (1 + L K) q = q⁰ - L χ: a system of the size of the
    charges, whatever the number of bonds, that stays well behaved when bonds break and s → 0. Sources of electrodes
    give charge at no cost but -μ, whether it stays on the electrode or flows on.

    Raises MatrixError where charges are not found.
    """
    equations = bond_equations(geometry, circuit)
    electronegativity = geometry.padded(parameters.electronegativity, 0.0)
    hardness = geometry.padded(parameters.hardness, 1.0)
    matrix = coulomb_matrix(geometry, parameters.width, background) + torch.diag_embed(hardness)
    found = equations.solution(matrix, electronegativity)
    lost = found.charges.isfinite().all(1).logical_not()
    if lost.any():
        raise MatrixError(int(lost.nonzero()[0]), "has no inverse or holds values that are not finite")
    flow = replace(found, charges=geometry.unpadded(found.charges), slope=geometry.unpadded(found.slope))
    return completed(flow, geometry, parameters, circuit)


@dataclass(frozen=True)
class Flow:
    """What solves the equations of bonds.

    charges     (atom,)       e, q
    slope       (atom,)       eV/e, v = χ + K q
    multiplier  (structure,)  eV/e, λ, zero where electrodes do not share a given total charge
    energy      (structure,)  eV, χ.q + q.K q / 2 + v.L v / 2
    """

    charges: Tensor
    slope: Tensor
    multiplier: Tensor
    energy: Tensor


def completed(flow: Flow, geometry: ChargeGeometry, parameters: ChargeParameters, circuit: Circuit) -> Equilibrium:
    """Energy as equation B18 has it, multipliers of all constraints, and the potential of the charges."""
    energy = flow.energy - geometry.summed(circuit.halved(circuit.bonds.softness * circuit.drive.square() / 2))
    potential = flow.slope - parameters.electronegativity - parameters.hardness * flow.charges
    by_charge = -flow.slope * shares(geometry, circuit)  # of each atom in the charge that it shares
    fed = loose(geometry, circuit) | circuit.source
    by_charge = torch.where(fed, flow.multiplier[geometry.structure], by_charge)
    multipliers = circuit.constraints.multipliers(geometry.padded(by_charge, 0.0))
    return Equilibrium(flow.charges, multipliers, energy, potential)


def loose(geometry: ChargeGeometry, circuit: Circuit) -> Tensor:
    """(atom,)  bool, beside electrodes, and known to no constraint but the total charge"""
    source, fragments = geometry.padded(circuit.source, False), circuit.constraints.rows[:, 1:].any(1)
    return geometry.unpadded(source.any(1, keepdim=True) & ~source & ~fragments)


class _StationaryEnergy(torch.autograd.Function):
    """χ.q + q.K q / 2 + v.L v / 2 at its minimum, with v = χ + K q.

    dE/dK = q qᵀ / 2, dE/dχ = q, dE/dq⁰ = v + λ, dE/dQ = -λ, dE/dL = -v vᵀ / 2; these hold q and λ with their graph, so
    higher orders see the response of the charges.
    """

    @staticmethod
    def forward(
        ctx: Any,
        matrix: Tensor,
        electronegativity: Tensor,
        start: Tensor,
        total: Tensor,
        laplacian: Tensor,
        charges: Tensor,
        multiplier: Tensor,
    ) -> Tensor:
        ctx.save_for_backward(matrix, electronegativity, charges, multiplier)
        product = vector_times(charges, matrix)
        slope = electronegativity + product
        on_bonds = (slope * vector_times(slope, laplacian)).sum(-1)
        return (charges * (electronegativity + product / 2)).sum(-1) + on_bonds / 2

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        matrix, electronegativity, charges, multiplier = ctx.saved_tensors
        slope = electronegativity + vector_times(charges, matrix)
        scale = gradients[0].unsqueeze(-1)
        by_matrix = (scale * charges / 2).unsqueeze(-1) * charges.unsqueeze(-2)
        by_laplacian = -(scale * slope / 2).unsqueeze(-1) * slope.unsqueeze(-2)
        by_start = scale * (slope + multiplier.unsqueeze(-1))
        return by_matrix, scale * charges, by_start, -gradients[0] * multiplier, by_laplacian, None, None
