"""Charge equilibration of one structure, by a factorisation or from products alone; derivatives need no matrix."""

from dataclasses import replace

import torch
from torch import Tensor

from cace_qeq.electrostatics.conjugate_gradients import Constraint, Convergence, System, conjugate_gradients
from cace_qeq.electrostatics.constraints import Constraints
from cace_qeq.electrostatics.coulomb_forms import charge_form
from cace_qeq.electrostatics.forms import Sum
from cace_qeq.electrostatics.geometry import ChargeGeometry
from cace_qeq.electrostatics.implicit import Problem, Solve, solve_implicitly, stationary_energy
from cace_qeq.electrostatics.kernels import Background, self_interaction
from cace_qeq.electrostatics.preconditioner import long_waves, surrounding_cell
from cace_qeq.electrostatics.qeq import ChargeParameters, Equilibrium
from cace_qeq.electrostatics.solvers import factorize


def equilibrate_by_forms(
    geometry: ChargeGeometry,
    parameters: ChargeParameters,
    constraints: Constraints,
    start: Tensor,
    background: Background,
    until: Convergence | None,
) -> Equilibrium:
    """As `equilibrate`, of one structure.

    start  (atom,)  e, charges to begin with
    until           when conjugate gradients are converged; None for a factorisation

    Raises ConvergenceError, and ValueError where K is not positive definite for changes that the constraints allow.
    """
    form = charge_form(geometry, parameters, background)
    active = constraints.active[0]
    rows, values = constraints.rows[0, active], constraints.values[0, active]
    constraint = Constraint.of(rows)
    if until is None:
        problem = Problem(form, constraint, _factored(form, rows))
    else:
        system = _system(geometry, parameters, form, constraint)
        problem = Problem(form, constraint, _iterated(system, until))
    found = equilibrium_of(problem, parameters, values, start)
    multipliers = torch.zeros_like(constraints.values).index_copy(1, active.nonzero().flatten(), found.multipliers)
    return replace(found, multipliers=multipliers)


def equilibrium_of(problem: Problem, parameters: ChargeParameters, values: Tensor, start: Tensor) -> Equilibrium:
    """Charges that solve the problem with C q = b and what follows from them; no operation depends on values.

    values  (row,)   b
    start   (atom,)  e
    """
    right = -parameters.electronegativity
    found = solve_implicitly(problem, right, values, start)
    charges, multipliers, _ = found
    energy = stationary_energy(problem, right, values, found)
    # K q + Cᵀ λ = -χ gives A q with its derivatives
    potential = right - multipliers @ problem.constraint.rows - parameters.hardness * charges
    return Equilibrium(charges, multipliers.unsqueeze(0), energy.view(1), potential)


def _factored(form: Sum, rows: Tensor) -> Solve:
    matrix = rows.new_zeros(1, rows.shape[1], rows.shape[1])
    form.add_to(matrix[0])
    factors = factorize(matrix, Constraints(rows.unsqueeze(0), rows.new_zeros(1, len(rows))))

    def solve(right: Tensor, total: Tensor, start: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        solution, multiplier = factors.solution(matrix, right.unsqueeze(0), total.unsqueeze(0))
        return solution[0], multiplier[0], matrix[0] @ solution[0]

    return solve


def _iterated(system: System, until: Convergence) -> Solve:
    def solve(right: Tensor, total: Tensor, start: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        found = conjugate_gradients(system, right, total, start, until)
        return found.solution, found.multiplier, found.product

    return solve


def _system(geometry: ChargeGeometry, parameters: ChargeParameters, form: Sum, constraint: Constraint) -> System:
    positions = geometry.positions.detach()
    cell = geometry.cells[0].detach() if geometry.periodic[0] else surrounding_cell(positions)
    stiffness = (parameters.hardness + self_interaction(parameters.width)).detach()
    return System(form.product, long_waves(positions, cell, stiffness), constraint)
