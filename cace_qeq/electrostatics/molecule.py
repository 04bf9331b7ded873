"""Charges of one molecule, by operations that depend on no values and can be recorded; first derivatives alone."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from cace_qeq.electrostatics.kernels import gaussian_coulomb, self_interaction
from cace_qeq.electrostatics.qeq import ChargeParameters


@dataclass(frozen=True)
class MoleculeCharges:
    """Charges under a given total, and what follows from them.

    charges    (atom,)  e, q
    potential  (atom,)  eV/e, A q
    energy     ()       eV, χ.q + q.K q / 2, stationary in the charges
    coulomb    ()       eV, q.A q / 2
    failed     ()       int32, not zero where K is not positive definite
    """

    charges: Tensor
    potential: Tensor
    energy: Tensor
    coulomb: Tensor
    failed: Tensor


def equilibrate_molecule(positions: Tensor, parameters: ChargeParameters, total_charge: Tensor) -> MoleculeCharges:
    """As `equilibrate`, of one open structure without other constraints.

    positions     (atom, 3)  Å
    parameters    of the atoms; χ with what is imposed on it
    total_charge  ()         e
    """
    felt, hardness = parameters.electronegativity, parameters.hardness
    coulomb = _coulomb_matrix(positions, parameters.width)
    stiffness = coulomb + torch.diag(hardness)
    charges, multiplier, failed = _Solution.apply(stiffness, -felt, total_charge)
    fixed = charges.detach()
    return MoleculeCharges(
        charges=charges,
        potential=-(felt + multiplier + hardness * charges),  # K q + λ = -χ gives A q without a product
        energy=torch.dot(fixed, felt + (stiffness @ fixed) / 2),
        coulomb=torch.dot(charges, coulomb @ charges) / 2,
        failed=failed,
    )


def _coulomb_matrix(positions: Tensor, width: Tensor) -> Tensor:
    """A.  (atom, atom)"""
    own = torch.eye(len(width), dtype=width.dtype, device=width.device)
    squared = (positions.unsqueeze(1) - positions).square().sum(-1) + own  # never a division by zero
    variance = width.square()
    pairs = gaussian_coulomb(squared, variance.unsqueeze(1) + variance)
    return pairs * (1 - own) + torch.diag(self_interaction(width))


class _Solution(torch.autograd.Function):
    """x, μ that solve K x + μ 1 = b with 1.x = c; the backward is one more solution.   (solvers, eq. S8)"""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, right: Tensor, total: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        lower, failed = torch.linalg.cholesky_ex(matrix)
        found, uniform = torch.cholesky_solve(torch.stack([right, torch.ones_like(right)], dim=1), lower).unbind(1)
        multiplier = (found.sum() - total) / uniform.sum()
        solution = found - multiplier * uniform
        ctx.save_for_backward(lower, uniform, solution)
        ctx.mark_non_differentiable(failed)
        return solution, multiplier, failed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        lower, uniform, solution = ctx.saved_tensors
        found = torch.cholesky_solve(gradients[0].unsqueeze(1), lower).squeeze(1)
        shift = (found.sum() - gradients[1]) / uniform.sum()
        adjoint = found - shift * uniform
        return -adjoint.unsqueeze(1) * solution, adjoint, shift
