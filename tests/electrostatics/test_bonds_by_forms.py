"""Charge along bonds by conjugate gradients against dense equations: every result, derivative, boundary and source."""

import math
from dataclasses import replace

import pytest
import torch

from cace_qeq.conditions import Conditions
from cace_qeq.electrostatics import (
    ChargeParameters,
    ConvergenceError,
    Solver,
    Task,
    Walls,
    Wiring,
    circuit_of,
    constraints_of,
    equilibrate_shells,
    find_charges,
    imposed_potential,
)
from cace_qeq.impose import Boundary, impose
from charged_structures import bonds_of, crystal, molecule, slab, strained
from iterative_structures import prepared

METHODS = ["structure_factors", "mesh"]
ALONE = {
    "cation": (molecule(5), 1.0, {}),
    "crystal": (crystal(6), 0.0, {}),
    "charged crystal": (crystal(5), -1.0, {}),
    "slab": (slab(5), 0.0, {}),
    "charged slab": (slab(4), 1.0, {}),
    "one atom in a cell": (crystal(1), 1.0, {}),
    "fragments": (molecule(6), 1.0, {"fragments": [([0, 3], -0.5)]}),
}
JUNCTION = {"electrodes": [([0, 2], 0.7), ([4], -0.3)], "fragments": [([5], 0.2)]}  # with atoms 1 and 3 between
WIRED = {
    "electrodes": (molecule(6), 0.5, JUNCTION),
    "electrodes at any total": (molecule(6), math.nan, JUNCTION),
    "electrodes in a slab": (slab(6), -0.4, JUNCTION),
    "electrodes in a crystal": (crystal(6), 0.0, JUNCTION),
}
ZOO = {**ALONE, **WIRED}
EACH = pytest.mark.parametrize("case", ZOO, ids=str)
EACH_METHOD = pytest.mark.parametrize("method", METHODS)


def task_of(case, method, softness=0.1):
    structure, total_charge, conditions = ZOO[case]
    geometry, bonds = prepared(structure, method), bonds_of(len(structure.width), softness)
    boundary = Boundary(structure.positions, structure.cell, structure.pbc, total_charge, bonded=True)
    imposed = impose(Conditions(**conditions), boundary)
    constraints = constraints_of(geometry, imposed, torch.tensor([total_charge], dtype=torch.float64))
    preference = torch.linspace(-1, 1, 2 * len(structure.width), dtype=torch.float64).view(-1, 2)
    circuit = circuit_of(geometry, Wiring(bonds, preference), constraints, imposed.potential, imposed.field)
    felt = structure.electronegativity + imposed_potential(geometry, structure.width, imposed)
    parameters = replace(structure.parameters, electronegativity=felt)
    return Task(geometry, parameters, constraints, torch.zeros_like(structure.width), circuit)


def found_by(case, method, tolerance=1e-11):
    return find_charges(task_of(case, method), "point", Solver(method, tolerance=tolerance))


@EACH_METHOD
@EACH
def test_results_are_those_of_dense_equations(case, method):
    found, expected = found_by(case, method), found_by(case, "dense")
    for name, value in vars(expected).items():
        assert torch.allclose(getattr(found, name), value, rtol=0, atol=1e-9), name


@EACH_METHOD
@EACH
def test_errors_of_energies_are_of_second_order_from_any_start(case, method):
    """With charges in error by 1e-4 e; flows that begin elsewhere are not at right angles to what is left of them."""
    expected, task = found_by(case, "dense"), task_of(case, method)
    begun = replace(task, start=expected.charges + 1e-3 * torch.linspace(-1, 1, len(task.start), dtype=torch.float64))
    found = find_charges(begun, "point", Solver(method, tolerance=1e-3))
    assert (found.charges - expected.charges).abs().max() < 1e-3
    assert torch.allclose(found.energy, expected.energy, rtol=0, atol=1e-6)


def walled(task, method, tolerance):
    """With walls that the first and the last charge of linear equilibration lie beyond, from the charges of before."""

    def solve(quadratic):
        return find_charges(replace(task, parameters=quadratic), "point", Solver(method, tolerance=tolerance))

    lower = torch.full_like(task.start, -0.3)
    stiffness = torch.tensor([40.0, 20.0], dtype=torch.float64).repeat(len(lower), 1)
    walls = Walls(lower, -lower, stiffness, torch.full_like(lower, 0.1))
    return equilibrate_shells(task.geometry, solve, task.parameters, walls, tolerance)


@EACH_METHOD
@EACH
def test_shells_close_with_any_tolerance_from_any_start(case, method):
    """Newton's method compares energies, and waited for changes that a residual does not allow."""
    expected = walled(task_of(case, "dense"), "dense", 1e-9)
    task = task_of(case, method)
    for tolerance in (1e-6, 1e-4):
        for shift in (0.0, 1e-3, 0.1):
            start = expected.charges + shift * torch.linspace(-1, 1, len(task.start), dtype=torch.float64)
            found = walled(replace(task, start=start.detach()), method, tolerance)
            assert torch.allclose(found.charges, expected.charges, rtol=0, atol=10 * tolerance)
            assert torch.allclose(found.energy, expected.energy, rtol=0, atol=1e-8 + 10 * tolerance**2)


def derivatives(case, method):
    """Energy, forces, virial, and gradients of a function of all results and forces, in all that they depend on."""
    task = task_of(case, method)
    positions = task.geometry.positions.clone().requires_grad_()
    strain = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    parameters = [value.clone().requires_grad_() for value in vars(task.parameters).values()]
    softness, drive, preference, values = (
        value.clone().requires_grad_()
        for value in (
            task.circuit.bonds.softness,
            task.circuit.drive,
            task.circuit.preference,
            task.constraints.values,
        )
    )
    geometry = strained(replace(task.geometry, positions=positions), strain)
    constraints = replace(task.constraints, values=values * task.constraints.active)
    circuit = replace(
        task.circuit, bonds=replace(task.circuit.bonds, softness=softness), drive=drive, preference=preference
    )
    circuit = replace(circuit, constraints=constraints)
    moved = Task(geometry, ChargeParameters(*parameters), constraints, task.start, circuit)
    found = find_charges(moved, "point", Solver(method, tolerance=1e-11))
    forces, virial = torch.autograd.grad(found.energy.sum(), [positions, strain], create_graph=True)
    weights = torch.linspace(-1, 1, forces.numel(), dtype=torch.float64).view_as(forces)
    loss = (forces * weights).sum() + found.charges.square().sum() + 0.3 * torch.dot(found.charges, found.potential)
    loss = loss + 0.2 * found.multipliers.square().sum() + 0.1 * (found.potential * found.charges.detach()).sum()
    inputs = [positions, strain, *parameters, softness, drive, preference, values]
    return [found.energy, forces, virial, *torch.autograd.grad(loss, inputs, allow_unused=True, materialize_grads=True)]


@EACH_METHOD
@EACH
def test_derivatives_are_those_of_dense_equations(case, method):
    """First and second; each derivative multiplies an error of the mesh, 1e-11 here, by up to 50/Å."""
    for one, other in zip(derivatives(case, method), derivatives(case, "dense"), strict=True):
        assert torch.allclose(one, other, rtol=1e-8, atol=2e-7)


@pytest.mark.parametrize("method", ["dense", "mesh"])
@EACH
def test_multipliers_are_slopes_in_the_charges_that_atoms_share(case, method):
    task = task_of(case, method)
    values = task.constraints.values.clone().requires_grad_()
    constraints = replace(task.constraints, values=values * task.constraints.active)
    task = replace(task, constraints=constraints, circuit=replace(task.circuit, constraints=constraints))
    found = find_charges(task, "point", Solver(method, tolerance=1e-11))
    (slopes,) = torch.autograd.grad(found.energy.sum(), values)
    active = task.constraints.active
    assert torch.allclose(slopes[active], -found.multipliers[active], rtol=0, atol=1e-9)


@pytest.mark.parametrize("softness", [1.0, 100.0])
@EACH
def test_soft_bonds_take_no_more_than_the_iterations_allowed(case, softness):
    """Loops of bonds, along which flow costs next to nothing, must not slow the others down."""
    found = find_charges(task_of(case, "mesh", softness), "point", Solver("mesh", tolerance=1e-9, iterations=60))
    expected = find_charges(task_of(case, "dense", softness), "point", Solver("dense"))
    assert torch.allclose(found.charges, expected.charges, rtol=0, atol=1e-7)


def test_too_few_iterations_are_an_error():
    with pytest.raises(ConvergenceError, match="within 2 iterations"):
        find_charges(task_of("crystal", "mesh"), "point", Solver("mesh", iterations=2))
