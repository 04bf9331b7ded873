"""Charge equilibration without a matrix, one structure at a time."""

import torch
from torch import Tensor

from cace_qeq.electrostatics.conjugate_gradients import Constraint, Convergence, System
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
    total_charge: Tensor,
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
    problem = Problem(form, _system(geometry, parameters, form), until)
    right = -parameters.electronegativity
    found = solve_implicitly(problem, right, total_charge, start)
    charges, multiplier, _ = found
    energy = stationary_energy(problem, right, total_charge, found)
    # K q + λ 1 = -χ gives A q with its derivatives
    potential = right - multiplier - parameters.hardness * charges
    coulomb_energy = torch.dot(charges, potential) / 2
    return Equilibrium(charges, multiplier, energy.view(1), potential, coulomb_energy.view(1))


def _system(geometry: ChargeGeometry, parameters: ChargeParameters, form: Sum) -> System:
    positions = geometry.positions.detach()
    cell = geometry.cells[0].detach() if geometry.periodic[0] else surrounding_cell(positions)
    stiffness = (parameters.hardness + self_interaction(parameters.width)).detach()
    everything = torch.ones(1, len(positions), dtype=positions.dtype, device=positions.device)
    return System(form.product, long_waves(positions, cell, stiffness), Constraint.of(everything))
