"""Projected, preconditioned conjugate gradients: K x + Cᵀμ = b with C x = c, from products K x alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cace_qeq.electrostatics.solvers import MatrixError

Product = Callable[[Tensor], Tensor]


class ConvergenceError(RuntimeError):
    """Charges did not converge.

    residuals  of every iteration, eV/e; of shells the changes in every Newton step, e
    """

    def __init__(self, message: str, residuals: Sequence[float]):
        super().__init__(message)
        self.residuals = list(residuals)


@dataclass(frozen=True)
class Convergence:
    """When to stop.

    tolerance   eV/e, of the largest element of the residual
    iterations  at most
    """

    tolerance: float = 1e-6
    iterations: int = 200


@dataclass(frozen=True)
class Converged:
    """x and μ, with K x (but for what the last correction of x by rounding errors changes) and how it went.

    solution    (atom,)
    multiplier  (row,)
    product     (atom,)
    residuals   eV/e, largest element before each iteration, and at the end
    """

    solution: Tensor
    multiplier: Tensor
    product: Tensor
    residuals: tuple[float, ...]


@dataclass(frozen=True)
class Constraint:
    """C x = c, and how to stay on it.

    rows   (row, atom)  C, independent
    gram   (row, row)   inverse of C Cᵀ
    """

    rows: Tensor
    gram: Tensor

    @classmethod
    def of(cls, rows: Tensor) -> "Constraint":
        return cls(rows, torch.linalg.inv(rows @ rows.T))

    def multiplier(self, residual: Tensor) -> Tensor:
        """μ that takes most of b - K x away.  (row,)"""
        return self.gram @ (self.rows @ residual)

    def projected(self, residual: Tensor) -> Tensor:
        """What no multiplier takes away.  (atom,)"""
        return residual - self.multiplier(residual) @ self.rows

    def corrected(self, solution: Tensor, total: Tensor) -> Tensor:
        """The nearest x with C x = c.  (atom,)"""
        return solution + (self.gram @ (total - self.rows @ solution)) @ self.rows


@dataclass(frozen=True)
class System:
    """What is solved: products with K and with an approximate inverse of it, and the constraint."""

    product: Product
    precondition: Product
    constraint: Constraint


@torch.no_grad()
def conjugate_gradients(system: System, right: Tensor, total: Tensor, start: Tensor, until: Convergence) -> Converged:
    """Solve K x + Cᵀμ = b with C x = c.

    K has to be positive definite for changes that keep C x = 0. The residual is projected in every iteration, since
    rounding would carry it out of that space, in single precision soon.

    right  (atom,)  b
    total  (row,)   c
    start  (atom,)  a guess, which need not keep the constraint

    Raises ConvergenceError with the history of residuals, and MatrixError where K turns out not to be.

    Gould, Hribar & Nocedal, doi 10.1137/S1064827598345667.
    """
    constraint = system.constraint
    solution = constraint.corrected(start, total)
    product = system.product(solution)
    residual = constraint.projected(right - product)
    direction, energy = torch.zeros_like(residual), residual.new_ones(())
    history = [float(residual.abs().max())]
    while not history[-1] <= until.tolerance:
        if len(history) > until.iterations or not history[-1] < float("inf"):
            raise ConvergenceError(_explanation(history, until), history)
        image = constraint.projected(system.precondition(residual))  # P M⁻¹ P, positive definite where C x = 0
        previous, energy = energy, torch.dot(residual, image)
        direction = image + (energy / previous) * direction if len(history) > 1 else image
        along = system.product(direction)
        curvature = torch.dot(direction, along)
        length = energy / curvature
        solution.add_(length * direction)
        product.add_(length * along)
        residual = constraint.projected(residual - length * along)
        largest, stiffness = torch.stack([residual.abs().max(), curvature]).tolist()
        if stiffness < 0:
            raise MatrixError(0, "is not positive definite")
        history.append(largest)
    solution = constraint.corrected(solution, total)
    return Converged(solution, constraint.multiplier(right - product), product, tuple(history))


def _explanation(history: Sequence[float], until: Convergence) -> str:
    lately = ", ".join(f"{value:.1e}" for value in history[-5:])
    return (
        f"charges did not converge to {until.tolerance:g} eV/e within {until.iterations} iterations; the largest "
        f"residuals were {history[0]:.1e} eV/e at first and {lately} at last. Causes: a hardness or width that is not "
        "positive, atoms that nearly coincide, real-space pairs that miss the cutoff of the widest Gaussian, or a "
        "tolerance below the rounding of the precision. Check the structure and the charge parameters, or allow more "
        "iterations."
    )
