"""The minimum of a quadratic form at given total, and all its derivatives."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Factorization:
    """What solves [[K, 1], [1ᵀ, 0]] [x; μ] = [b; c] for any b and c; constants, without gradients.

    cholesky  (structure, N, N)  lower factor of P K P + s n nᵀ, the identity in padding
    uniform   (structure, N)     n, the unit vector along the constraint, zero in padding
    """

    cholesky: Tensor
    uniform: Tensor

    def balanced(self, values: Tensor) -> Tensor:
        """P v = v − n (n.v), the part that adds up to zero.  (structure, N)"""
        return values - self.uniform * (self.uniform * values).sum(-1, keepdim=True)


def factorize(matrix: Tensor, occupied: Tensor) -> Factorization:
    """Factor symmetric matrices once; every solution and derivative uses the result.

    Only what moves charge between atoms has to be positive definite. Along the uniform direction a neutralising
    background makes K of a crystal negative (−2π η²/V for every pair), so that direction is split off first.

    matrix    (structure, N, N)  K, the identity in padding
    occupied  (structure, N)     bool, False in padding

    Raises ValueError where a matrix is not positive definite for changes that add up to zero.
    """
    constraint = occupied.to(matrix.dtype)
    uniform = constraint / constraint.sum(-1, keepdim=True).sqrt()
    fixed = matrix.detach()
    scale = torch.diagonal(fixed, dim1=1, dim2=2).abs().mean(-1)
    rows = _product(fixed, uniform)
    along = (scale + (uniform * rows).sum(-1)).unsqueeze(-1) * uniform / 2 - rows
    # P K P + s n nᵀ = K + n (c − K n)ᵀ + (c − K n) nᵀ with c = (s + n.K n) n / 2
    shifted = fixed + uniform.unsqueeze(2) * along.unsqueeze(1) + along.unsqueeze(2) * uniform.unsqueeze(1)
    cholesky, failure = torch.linalg.cholesky_ex(shifted)
    if failure.any():
        raise ValueError(_explanation(matrix, failure))
    return Factorization(cholesky, uniform)


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
        uniform = factors.uniform
        even = uniform * (total / uniform.sum(-1)).unsqueeze(-1)
        residual = factors.balanced(right - _product(matrix, even))
        moved = torch.cholesky_solve(residual.unsqueeze(-1), factors.cholesky).squeeze(-1)
        solution = even + factors.balanced(moved)
        multiplier = (uniform * (right - _product(matrix, solution))).sum(-1) / uniform.sum(-1)
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


def _product(matrix: Tensor, vector: Tensor) -> Tensor:
    return torch.bmm(matrix, vector.unsqueeze(-1)).squeeze(-1)


def _explanation(matrix: Tensor, failure: Tensor) -> str:
    first = int(failure.nonzero()[0])
    finite = bool(torch.isfinite(matrix[first]).all())
    found = "is not positive definite" if finite else "holds values that are not finite"
    return (
        f"structure {first} of the batch: the charge equilibration matrix {found}, expected that of "
        "Gaussian charges plus positive hardnesses. Causes: two atoms at one place, NaN positions or widths, "
        "a hardness or width that is not positive, real-space pairs that miss the cutoff of the widest "
        "Gaussian, or single precision. Check the structure and the charge parameters."
    )
