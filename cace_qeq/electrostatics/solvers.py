"""The minimum of a quadratic form at given total, and all its derivatives."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Factorization:
    """What solves [[K, 1], [1ᵀ, 0]] [x; μ] = [b; c] for any b and c; constants, without gradients.

    cholesky    (structure, N, N)  lower factor of K
    occupied    (structure, N)     the constraint 1: one for atoms, zero in padding
    response    (structure, N)     K⁻¹ 1
    softness    (structure,)       1ᵀ K⁻¹ 1
    """

    cholesky: Tensor
    occupied: Tensor
    response: Tensor
    softness: Tensor


def factorize(matrix: Tensor, occupied: Tensor) -> Factorization:
    """Factor symmetric positive definite matrices once; every solution and derivative uses the result.

    matrix    (structure, N, N)  K, the identity in padding
    occupied  (structure, N)     bool, False in padding

    Raises ValueError where a matrix is not positive definite.
    """
    cholesky, failure = torch.linalg.cholesky_ex(matrix.detach())
    if failure.any():
        raise ValueError(_explanation(matrix, failure))
    constraint = occupied.to(matrix.dtype)
    response = torch.cholesky_solve(constraint.unsqueeze(-1), cholesky).squeeze(-1)
    return Factorization(cholesky, constraint, response, (constraint * response).sum(-1))


def solve_constrained(
    matrix: Tensor, factors: Factorization, right: Tensor, total: Tensor
) -> tuple[Tensor, Tensor]:
    """Solve K x + μ 1 = b with Σ x = c.

    matrix   (structure, N, N)  K, the one that was factored; gradients flow to it
    right    (structure, N)     b
    total    (structure,)       c
    returns  (structure, N), (structure,)  x and μ

    Derivatives come from the implicit function theorem: the backward is the same solution with another
    right-hand side, so every order costs one more substitution and never a factorisation.
    """
    solution, multiplier = _ConstrainedSolution.apply(matrix, right, total, factors)
    return solution, multiplier


class _ConstrainedSolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, matrix: Tensor, right: Tensor, total: Tensor, factors: Factorization
    ) -> tuple[Tensor, Tensor]:
        free = torch.cholesky_solve(right.unsqueeze(-1), factors.cholesky).squeeze(-1)
        multiplier = ((factors.occupied * free).sum(-1) - total) / factors.softness
        solution = free - multiplier.unsqueeze(-1) * factors.response
        ctx.factors = factors
        ctx.save_for_backward(matrix, solution, multiplier)
        return solution, multiplier

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None]:
        matrix, solution, _ = ctx.saved_tensors
        adjoint, shift = solve_constrained(matrix, ctx.factors, *gradients)
        by_matrix = None
        if ctx.needs_input_grad[0]:
            by_matrix = -adjoint.unsqueeze(-1) * solution.unsqueeze(-2)
        return by_matrix, adjoint, shift, None


def _explanation(matrix: Tensor, failure: Tensor) -> str:
    first = int(failure.nonzero()[0])
    finite = bool(torch.isfinite(matrix[first]).all())
    found = "is not positive definite" if finite else "holds values that are not finite"
    return (
        f"structure {first} of the batch: the charge equilibration matrix {found}, expected a Gram matrix of "
        "Gaussian charges plus positive hardnesses. Causes: two atoms at one place, NaN positions or widths, "
        "a hardness or width that is not positive, real-space pairs that miss the cutoff of the widest "
        "Gaussian, or single precision. Check the structure and the charge parameters."
    )
