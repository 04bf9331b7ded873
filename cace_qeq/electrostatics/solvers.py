"""The minimum of a quadratic form under linear constraints, and all its derivatives."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cace_qeq.electrostatics.constraints import Constraints


class MatrixError(ValueError):
    """A matrix that no charges can be found from.

    structure  its place in the batch
    fault      what it is
    """

    def __init__(self, structure: int, fault: str):
        super().__init__(
            f"structure {structure} of the batch: the charge equilibration matrix {fault}, expected that of "
            "Gaussian charges plus positive hardnesses. Causes: two atoms at one place, NaN positions or widths, "
            "a hardness or width that is not positive, real-space pairs that miss the cutoff of the widest "
            "Gaussian, or single precision. Check the structure and the charge parameters."
        )
        self.structure, self.fault = structure, fault


@dataclass(frozen=True)
class Factorization:
    """What solves [[K, Cᵀ], [C, 0]] [x; μ] = [b; c] for any b and c; constants, without gradients.

    cholesky     (structure, N, N)  lower factor of P K P + s Bᵀ B, the identity in padding; P = 1 − Bᵀ B
    constraints  C, and B, its orthonormal rows
    """

    cholesky: Tensor
    constraints: Constraints

    @torch.no_grad()
    def solution(self, matrix: Tensor, right: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """x and μ, without gradients; `solve_constrained` says of what."""
        start = self.constraints.smallest(values)
        residual = self.constraints.balanced(right - _product(matrix, start))
        moved = torch.cholesky_solve(residual.unsqueeze(-1), self.cholesky).squeeze(-1)
        solution = start + self.constraints.balanced(moved)
        return solution, self.constraints.multipliers(right - _product(matrix, solution))


def factorize(matrix: Tensor, constraints: Constraints) -> Factorization:
    """Factor symmetric matrices once; every solution and derivative uses the result.

    Only changes that the constraints allow have to be positive definite. Along the uniform direction a neutralising
    background makes K of a crystal negative (−2π η²/V for every pair), so what C fixes is split off first.

    matrix       (structure, N, N)  K, the identity in padding
    constraints  with zeros in padding

    Raises MatrixError where one is not positive definite for changes with C x = 0.
    """
    fixed, basis = matrix.detach(), constraints.basis
    scale = torch.diagonal(fixed, dim1=1, dim2=2).abs().mean(-1).view(-1, 1, 1)
    images = torch.bmm(basis, fixed)
    inner = torch.bmm(images, basis.transpose(1, 2))
    inner = inner + scale * torch.eye(basis.shape[1], dtype=fixed.dtype, device=fixed.device)
    along = torch.bmm(inner, basis) / 2 - images
    # P K P + s Bᵀ B = K + Bᵀ W + Wᵀ B with W = (s + B K Bᵀ) B / 2 − B K
    half = torch.bmm(basis.transpose(1, 2), along)
    cholesky, failure = torch.linalg.cholesky_ex(fixed + half + half.transpose(1, 2))
    if failure.any():
        first = int(failure.nonzero()[0])
        finite = bool(torch.isfinite(matrix[first]).all())
        raise MatrixError(first, "is not positive definite" if finite else "holds values that are not finite")
    return Factorization(cholesky, constraints)


def solve_constrained(matrix: Tensor, factors: Factorization, right: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Solve K x + Cᵀ μ = b with C x = c.

    matrix   (structure, N, N)  K, the one that was factored; gradients flow to it
    right    (structure, N)     b
    values   (structure, row)   c
    returns  (structure, N), (structure, row)  x and μ

    Derivatives come from the implicit function theorem: the backward is the same solution with another
    right-hand side, so every order costs one more substitution and never a factorisation.
    """
    solution, multiplier = _ConstrainedSolution.apply(matrix, right, values, factors)
    return solution, multiplier


class _ConstrainedSolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, matrix: Tensor, right: Tensor, values: Tensor, factors: Factorization
    ) -> tuple[Tensor, Tensor]:
        solution, multiplier = factors.solution(matrix, right, values)
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
