"""Charge equilibration without a matrix, one structure at a time."""

import torch
from torch import Tensor

from cace_qeq.electrostatics.conjugate_gradients import Constraint, Convergence, System
from cace_qeq.electrostatics.constraints import Constraints
from cace_qeq.electrostatics.coulomb_forms import charge_form
from cace_qeq.electrostatics.forms import Sum
from cace_qeq.electrostatics.geometry import ChargeGeometry
from cace_qeq.electrostatics.implicit import Problem, solve_implicitly, stationary_energy
from cace_qeq.electrostatics.kernels import Background, self_interaction
from cace_qeq.electrostatics.preconditioner import long_waves, surrounding_cell
from cace_qeq.electrostatics.qeq import ChargeParameters, Equilibrium


def equilibrate_matrix_free(
    geometry: ChargeGeometry,
    parameters: ChargeParameters,
    constraints: Constraints,
    start: Tensor,
    background: Background,
    until: Convergence,
) -> Equilibrium:
    """As `equilibrate`, from products with K alone; one structure.

    start  (atom,)  e, charges to begin with
    until           when they are converged

    Raises ConvergenceError.
    """
    form = charge_form(geometry, parameters, background)
    active = constraints.active[0]
    rows, values = constraints.rows[0, active], constraints.values[0, active]
    problem = Problem(form, _system(geometry, parameters, form, rows), until)
    right = -parameters.electronegativity
    found = solve_implicitly(problem, right, values, start)
    charges, multipliers, _ = found
    energy = stationary_energy(problem, right, values, found)
    # K q + Cᵀ λ = -χ gives A q with its derivatives
    potential = right - multipliers @ rows - parameters.hardness * charges
    all_multipliers = torch.zeros_like(constraints.values[0]).index_copy(0, active.nonzero().flatten(), multipliers)
    coulomb_energy = torch.dot(charges, potential) / 2
    return Equilibrium(charges, all_multipliers.view(1, -1), energy.view(1), potential, coulomb_energy.view(1))


def _system(geometry: ChargeGeometry, parameters: ChargeParameters, form: Sum, rows: Tensor) -> System:
    positions = geometry.positions.detach()
    cell = geometry.cells[0].detach() if geometry.periodic[0] else surrounding_cell(positions)
    stiffness = (parameters.hardness + self_interaction(parameters.width)).detach()
    return System(form.product, long_waves(positions, cell, stiffness), Constraint.of(rows))
