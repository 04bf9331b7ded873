"""One structure by forms against padded matrices: every result, every derivative, every boundary, every method."""

from dataclasses import replace

import pytest
import torch

from cace_qeq.electrostatics import ChargeParameters, Equilibrium, Solver, Task, find_charges, total_charge_alone
from cace_qeq.electrostatics.coulomb_forms import charge_form
from cace_qeq.electrostatics.matrix import coulomb_matrix
from cace_qeq.electrostatics.qeq import equilibrate
from charged_structures import crystal, equilibrium_of, molecule, slab, strained, variables_of
from iterative_structures import iterated, prepared, task_of

METHODS = ["dense", "structure_factors", "mesh"]
BACKGROUNDS = ["point", "gaussian"]
ZOO = {
    "dimer": molecule(2),
    "cation": molecule(5, total_charge=1.0),
    "crystal": crystal(6),
    "charged crystal": crystal(5, total_charge=-1.0),
    "one atom in a cell": crystal(1, total_charge=1.0),
    "slab": slab(5),
    "charged slab": slab(4, total_charge=1.0),
}


@pytest.fixture(params=ZOO, ids=str)
def structure(request):
    return ZOO[request.param]


def padded(task: Task) -> Equilibrium:
    return equilibrate(task.geometry, task.parameters, task.constraints)


def derivatives(structure, method, solve):
    """Energy, forces, virial, and gradients of a function of charges, energies and forces, as training has them."""
    task = task_of(structure, method)
    positions = structure.positions.clone().requires_grad_()
    strain = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    parameters = [value.clone().requires_grad_() for value in vars(structure.parameters).values()]
    geometry = strained(replace(task.geometry, positions=positions), strain)
    moved = Task(geometry, ChargeParameters(*parameters), task.constraints, task.start)
    found = solve(moved)
    forces, virial = torch.autograd.grad(found.energy.sum(), [positions, strain], create_graph=True)
    weights = torch.linspace(-1, 1, forces.numel(), dtype=torch.float64).view_as(forces)
    loss = (forces * weights).sum() + found.charges.square().sum() + 0.3 * torch.dot(found.charges, found.potential)
    return [found.energy, forces, virial, *torch.autograd.grad(loss, [positions, strain, *parameters])]


@pytest.mark.parametrize("background", BACKGROUNDS)
@pytest.mark.parametrize("method", METHODS)
def test_results_are_those_of_padded_matrices(structure, method, background):
    found, expected = iterated(structure, method, background), equilibrium_of(structure, background=background)
    for name, value in vars(expected).items():
        assert torch.allclose(getattr(found, name), value, rtol=0, atol=1e-9), name


@pytest.mark.parametrize("method", METHODS)
def test_derivatives_are_those_of_padded_matrices(structure, method):
    """First and second; each derivative multiplies an error of the mesh, 1e-11 here, by up to 50/Å."""
    solver = Solver(method, tolerance=1e-11)
    found = derivatives(structure, method, lambda task: find_charges(task, "point", solver))
    error = 1e-10 if method == "dense" else 2e-7
    for one, other in zip(found, derivatives(structure, "dense", padded), strict=True):
        assert torch.allclose(one, other, rtol=1e-8, atol=error)


@pytest.mark.parametrize("background", BACKGROUNDS)
@pytest.mark.parametrize(("method", "error"), [("dense", 1e-12), ("mesh", 1e-9)])
def test_the_form_written_down_is_the_matrix(structure, method, error, background):
    geometry, parameters = prepared(structure, method), structure.parameters
    expected = coulomb_matrix(prepared(structure, "dense"), parameters.width, background)[0]
    written = torch.zeros_like(expected)
    charge_form(geometry, parameters, background).add_to(written)
    assert torch.allclose(written, expected + parameters.hardness.diag(), rtol=0, atol=error)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("make", [molecule, crystal, slab])
def test_derivatives_of_first_and_second_order(make, method):
    structure = make(3, total_charge=1.0)
    geometry = prepared(structure, method)
    if method == "mesh":  # a coarse one, so that its own errors are differentiated too
        geometry = replace(geometry, mesh=geometry.mesh.clamp(max=6))

    def results(positions, strain, electronegativity, hardness, width, total_charge):
        moved = strained(replace(geometry, positions=positions), strain)
        parameters = ChargeParameters(electronegativity, hardness, width)
        task = Task(moved, parameters, total_charge_alone(moved, total_charge), torch.zeros_like(width))
        return tuple(vars(find_charges(task, "gaussian", Solver(method, tolerance=1e-13))).values())

    inputs = variables_of(structure)
    assert torch.autograd.gradcheck(results, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(results, inputs, fast_mode=True)


def test_the_energy_is_better_than_the_tolerance():
    """It is stationary: an error of 1e-4 in the charges is one of 1e-8 in the energy."""
    structure = ZOO["crystal"]
    task = task_of(structure, "structure_factors")
    loose = find_charges(task, "point", Solver("structure_factors", tolerance=1e-3))
    expected = equilibrium_of(structure)
    assert (loose.charges - expected.charges).abs().max() > 1e-8
    assert loose.energy.item() == pytest.approx(expected.energy.item(), abs=1e-6)


@pytest.mark.parametrize("scale", [1e-9, 1e6])
def test_gradients_do_not_depend_on_their_size(scale):
    """The tolerance in eV/e is for charges; gradients of a small loss are as exact as those of a large one."""
    structure = ZOO["cation"]
    hardness = structure.hardness.clone().requires_grad_()
    task = replace(task_of(structure, "mesh"), parameters=replace(structure.parameters, hardness=hardness))
    found = find_charges(task, "point", Solver("mesh", tolerance=1e-9))
    weights = torch.linspace(-1, 1, 5, dtype=torch.float64)
    plain, scaled = (
        torch.autograd.grad((found.charges * weights * size).sum(), hardness, retain_graph=True)[0] / size
        for size in (1.0, scale)
    )
    assert torch.allclose(plain, scaled, rtol=1e-7, atol=0)
