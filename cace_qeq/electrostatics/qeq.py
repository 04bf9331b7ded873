"""Charge equilibration: charges that minimise a quadratic energy under linear constraints.   (theory, eqs. 8 to 10)"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cace_qeq.electrostatics.constraints import Constraints, vector_times
from cace_qeq.electrostatics.geometry import ChargeGeometry
from cace_qeq.electrostatics.kernels import Background
from cace_qeq.electrostatics.matrix import coulomb_matrix
from cace_qeq.electrostatics.solvers import factorize, solve_constrained


@dataclass(frozen=True)
class ChargeParameters:
    """What each atom wants of charge.

    electronegativity  (atom,)  eV/e,  χ
    hardness           (atom,)  eV/e², J > 0
    width              (atom,)  Å,     σ > 0 of its Gaussian
    """

    electronegativity: Tensor
    hardness: Tensor
    width: Tensor


@dataclass(frozen=True)
class Equilibrium:
    """Charges at equilibrium, and what follows from them.

    charges      (atom,)           e, q
    multipliers  (structure, row)  eV/e, λ = -dE/db of the constraints; that of the total charge first
    energy       (structure,)      eV, χ.q + q.K q / 2
    potential    (atom,)           eV/e, A q
    """

    charges: Tensor
    multipliers: Tensor
    energy: Tensor
    potential: Tensor


def equilibrate(
    geometry: ChargeGeometry,
    parameters: ChargeParameters,
    constraints: Constraints,
    background: Background = "point",
) -> Equilibrium:
    """Minimise χ.q + q.K q / 2 with K = A + diag(J) under C q = b.

    geometry     structures
    parameters   of the atoms; χ with what is imposed on it (`potentials.imposed_potential`)
    constraints  of the charges
    background   of charged crystals

    Every result is differentiable to any order. First derivatives of `energy` need no response of the
    charges, since it is stationary in them.

    Raises ValueError where K is not positive definite for changes that the constraints allow.

    Rappe & Goddard, doi 10.1021/j100161a070; Ko et al., doi 10.1038/s41467-020-20427-2.
    """
    electronegativity = geometry.padded(parameters.electronegativity, 0.0)
    hardness = geometry.padded(parameters.hardness, 1.0)
    matrix = coulomb_matrix(geometry, parameters.width, background) + torch.diag_embed(hardness)
    factors = factorize(matrix, constraints)
    table, multipliers = solve_constrained(matrix, factors, -electronegativity, constraints.values)
    energy = _StationaryEnergy.apply(matrix, electronegativity, constraints.values, table, multipliers)
    charges = geometry.unpadded(table)
    # K q + Cᵀ λ = -χ gives A q without a product
    equalised = geometry.unpadded(vector_times(multipliers, constraints.rows))
    potential = -(parameters.electronegativity + equalised + parameters.hardness * charges)
    return Equilibrium(charges, multipliers, energy, potential)


class _StationaryEnergy(torch.autograd.Function):
    """χ.q + q.K q / 2 at its minimum: dE/dK = q qᵀ / 2, dE/dχ = q, dE/db = -λ.

    Those derivatives hold q and λ with their graph, so higher orders see the response of the charges.
    """

    @staticmethod
    def forward(
        ctx: Any,
        matrix: Tensor,
        electronegativity: Tensor,
        values: Tensor,
        charges: Tensor,
        multipliers: Tensor,
    ) -> Tensor:
        ctx.save_for_backward(charges, multipliers)
        hardened = torch.bmm(matrix, charges.unsqueeze(-1)).squeeze(-1)
        return (charges * (electronegativity + hardened / 2)).sum(-1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None, None]:
        charges, multipliers = ctx.saved_tensors
        scaled = gradients[0].unsqueeze(-1) * charges
        by_matrix = 0.5 * scaled.unsqueeze(-1) * charges.unsqueeze(-2) if ctx.needs_input_grad[0] else None
        return by_matrix, scaled, -gradients[0].unsqueeze(-1) * multipliers, None, None
