"""Charges of one structure, and all their derivatives: the backward is one more solution."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cace_qeq.electrostatics.conjugate_gradients import Constraint
from cace_qeq.electrostatics.forms import Sum

Gradients = tuple[Tensor | None, ...]
Solve = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]
"""b, c and a guess of x -> x, μ and K x that solve K x + Cᵀμ = b with C x = c; constants"""


@dataclass(frozen=True)
class Problem:
    """K with its gradients, C, and what solves the system with K as it is."""

    form: Sum
    constraint: Constraint
    solve: Solve


def solve_implicitly(problem: Problem, right: Tensor, total: Tensor, start: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Solve K x + Cᵀμ = b with C x = c.

    right    (atom,)  b
    total    (row,)   c
    start    (atom,)  guess of x
    returns  (atom,), (row,), (atom,)  x, μ and the constant K x

    Gradients flow to b, c and all parameters of K, to any order.   (solvers, eq. S8)
    Raises what the problem's solver raises.
    """
    solution, multiplier, product = _Solution.apply(problem, start, right, total, *problem.form.parameters)
    return solution, multiplier, product


def stationary_energy(problem: Problem, right: Tensor, total: Tensor, found: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """x.K x / 2 - b.x at its minimum: its derivatives are those at constant x.  ()"""
    energy: Tensor = _StationaryEnergy.apply(problem, right, total, *found, *problem.form.parameters)
    return energy


class _Solution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, problem: Problem, start: Tensor, right: Tensor, total: Tensor, *parameters: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        solution, multiplier, product = problem.solve(right, total, start)
        ctx.problem = problem
        ctx.set_materialize_grads(False)  # forces of a stationary energy ask for no response
        ctx.save_for_backward(solution, multiplier)
        ctx.mark_non_differentiable(product)
        return solution, multiplier, product

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Gradients:
        problem, outputs = ctx.problem, ctx.saved_tensors
        if gradients[0] is None and gradients[1] is None:
            return (None,) * (4 + len(problem.form.parameters))
        right, total = (
            torch.zeros_like(output) if gradient is None else gradient
            for output, gradient in zip(outputs, gradients, strict=False)
        )
        solution, constraint = outputs[0], problem.constraint
        along = constraint.multiplier(right)  # of positions far from the origin almost all, and it moves no charge
        right = right - along @ constraint.rows
        size = torch.cat([right, total]).detach().abs().max()
        size = size + (size == 0)
        right, total = right / size, total / size  # the tolerance is meant for numbers around one
        adjoint, shift, _ = solve_implicitly(problem, right, total, torch.zeros_like(solution))
        adjoint, shift = size * adjoint, size * shift + along
        by_parameters = (-slope for slope in problem.form.gradients(adjoint, solution))
        return None, None, adjoint, shift, *by_parameters


class _StationaryEnergy(torch.autograd.Function):
    """dE/dK = x xᵀ / 2, dE/db = -x, dE/dc = -μ; x and μ keep their graph, so higher orders see their response."""

    @staticmethod
    def forward(
        ctx: Any,
        problem: Problem,
        right: Tensor,
        total: Tensor,
        solution: Tensor,
        multiplier: Tensor,
        product: Tensor,
        *parameters: Tensor,
    ) -> Tensor:
        ctx.problem = problem
        ctx.save_for_backward(solution, multiplier)
        return torch.dot(solution, product / 2 - right)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Gradients:
        (gradient,) = gradients
        solution, multiplier = ctx.saved_tensors
        by_parameters = (gradient / 2 * slope for slope in ctx.problem.form.gradients(solution, solution))
        return None, -gradient * solution, -gradient * multiplier, None, None, None, *by_parameters
