"""External charges of any boundary: against frozen atoms, other splits of the sum, and molecules in large cells."""

from dataclasses import replace

import pytest
import torch

from cace_qeq.conditions import ExternalCharges, nothing_imposed, split_pairs
from cace_qeq.electrostatics import Conditions, Solver, coulomb_matrix, imposed_potential, solve_charges
from charged_structures import crystal, geometry_of, molecule, slab

N_ATOMS = 4  # of six; the others are frozen
CHARGES = [1.1, -0.4]
EACH_BOUNDARY = pytest.mark.parametrize("make", [molecule, slab, crystal])
EACH_BACKGROUND = pytest.mark.parametrize("background", ["point", "gaussian"])


def solved(structure, background="point", method="dense", **conditions):
    solver = Solver(method, tolerance=1e-11, mesh_accuracy=1e-10)
    values = {**vars(structure), "pbc": structure.pbc.tolist(), "conditions": Conditions(**conditions)}
    return solve_charges(**values, background=background, solver=solver)


def without_the_last(structure, total_charge):
    names = ("positions", "electronegativity", "hardness", "width")
    return replace(structure, **{name: getattr(structure, name)[:N_ATOMS] for name in names}, total_charge=total_charge)


def the_last(structure):
    return {
        "external_positions": structure.positions[N_ATOMS:],
        "external_charges": torch.tensor(CHARGES, dtype=torch.float64),
        "external_widths": structure.width[N_ATOMS:],
    }


@pytest.mark.parametrize(("method", "error"), [("dense", 1e-12), ("structure_factors", 1e-12), ("mesh", 1e-9)])
@EACH_BACKGROUND
@EACH_BOUNDARY
def test_external_charges_are_frozen_atoms(make, background, method, error):
    """Charges, energy and forces, as if they were atoms of fixed charge; the energy lacks their own."""
    structure = make(6, total_charge=0.9)
    places = structure.positions.clone().requires_grad_()
    moving = replace(structure, positions=places)
    frozen = solved(moving, background, fragments=[([4], CHARGES[0]), ([5], CHARGES[1])])
    found = solved(without_the_last(moving, 0.2), background, method, **the_last(moving))
    charges = torch.tensor(CHARGES, dtype=torch.float64)
    matrix = coulomb_matrix(geometry_of(structure), structure.width, background)[0] + torch.diag(structure.hardness)
    own = structure.electronegativity[4:] @ charges + charges @ matrix[4:, 4:] @ charges / 2
    assert torch.allclose(found.charges, frozen.charges[:N_ATOMS], rtol=0, atol=error)
    assert found.energy.item() == pytest.approx((frozen.energy - own).item(), abs=10 * error)
    expected, slopes = (torch.autograd.grad(one.energy, places)[0] for one in (frozen, found))
    assert torch.allclose(slopes[:N_ATOMS], expected[:N_ATOMS], rtol=0, atol=10 * error)


@EACH_BACKGROUND
@EACH_BOUNDARY
def test_the_potential_does_not_depend_on_the_split(make, background):
    def potential(split_factor):
        structure = make(6)
        geometry = geometry_of(structure, split_factor)
        within, across = split_pairs(geometry.center, geometry.neighbor, N_ATOMS)
        inner = replace(
            geometry,
            positions=geometry.positions[:N_ATOMS],
            structure=geometry.structure[:N_ATOMS],
            center=geometry.center[within],
            neighbor=geometry.neighbor[within],
            shift=geometry.shift[:, within],
        )
        external = ExternalCharges.of_one(*the_last(structure).values())
        imposed = replace(nothing_imposed(N_ATOMS), external=external).with_pairs(
            geometry.center[across], geometry.neighbor[across] - N_ATOMS, geometry.shift[:, across].T.long()
        )
        return imposed_potential(inner, structure.width[:N_ATOMS], imposed, background)

    assert torch.allclose(potential(1.0), potential(0.8), rtol=0, atol=1e-10)
    assert potential(1.0).abs().max() > 0.1


def test_in_a_large_cell_they_are_those_around_a_molecule():
    """As long as all is neutral: images of dipoles then die with the volume."""
    structure = molecule(6)
    around = the_last(structure)
    expected = solved(without_the_last(structure, -0.7), **around).energy.item()
    errors = []
    for length in (30.0, 60.0):
        boxed = replace(without_the_last(structure, -0.7), cell=length * torch.eye(3, dtype=torch.float64))
        alone = torch.tensor(CHARGES, dtype=torch.float64)
        errors.append(solved(boxed, **around).energy.item() - expected - images(around, alone, length))
    assert abs(errors[1]) < 2e-3
    assert errors[1] == pytest.approx(errors[0] / 8, rel=0.1)


def images(around, charges, length):
    """eV, minus what the external charges, which are not neutral, have with their own images and background."""
    cell = length * torch.eye(3, dtype=torch.float64)
    structure = replace(crystal(2), positions=around["external_positions"], width=around["external_widths"], cell=cell)
    matrix = coulomb_matrix(geometry_of(structure), structure.width)[0]
    in_the_open = replace(structure, cell=torch.zeros_like(cell))
    matrix = matrix - coulomb_matrix(geometry_of(in_the_open), structure.width)[0]
    return -float(charges @ matrix @ charges) / 2


@pytest.mark.parametrize("make", [slab, crystal])
@pytest.mark.parametrize("method", ["structure_factors", "mesh"])
def test_derivatives_of_first_and_second_order(make, method):
    structure = make(3, total_charge=1.0)
    around = {name: value.clone().requires_grad_() for name, value in the_last(make(6)).items()}
    strain = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    inputs = (structure.positions.clone().requires_grad_(), strain, *around.values())

    def results(positions, strain, places, charges, widths):
        deformation = torch.eye(3, dtype=torch.float64) + strain
        found = solved(
            replace(structure, positions=positions @ deformation, cell=structure.cell @ deformation),
            method=method,
            external_positions=places @ deformation,
            external_charges=charges,
            external_widths=widths,
        )
        return found.charges, found.energy

    assert torch.autograd.gradcheck(results, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(results, inputs, fast_mode=True)
