"""The energy of given charges against the matrix, lattice sums, vacuum and finite differences."""

import math

import numpy as np
import pytest
import torch

from cace_qeq.electrostatics import Solver, coulomb_energy, coulomb_matrix
from cace_qeq.electrostatics.given import coulomb_form
from cace_qeq.units import COULOMB
from charged_structures import crystal, geometry_of, molecule, slab

STRUCTURES = {"open": molecule(6), "crystal": crystal(6), "slab": slab(6)}
ANY = pytest.mark.parametrize("structure", STRUCTURES.values(), ids=STRUCTURES)
METHODS = pytest.mark.parametrize("method", ["structure_factors", "mesh"])
CHARGES = torch.tensor([0.7, -0.4, 0.9, -1.3, 0.2, 0.4], dtype=torch.float64)
POINTS = torch.zeros(6, dtype=torch.float64)


def energy_of(structure, charges=CHARGES, width=None, **changes):
    values = {"positions": structure.positions, "cell": structure.cell, "pbc": structure.pbc.tolist()}
    return coulomb_energy(
        **{**values, "charges": charges, "width": structure.width if width is None else width, **changes}
    )


@ANY
@METHODS
@pytest.mark.parametrize("background", ["point", "gaussian"])
def test_the_energy_is_that_of_the_matrix(structure, method, background):
    """Charged by half an e."""
    matrix = coulomb_matrix(geometry_of(structure), structure.width, background)[0]
    found = energy_of(structure, background=background, solver=Solver(method, mesh_accuracy=1e-11))
    assert found.shape == ()
    assert found.item() == pytest.approx(float(CHARGES @ matrix @ CHARGES) / 2, abs=1e-8)


@ANY
@METHODS
def test_potentials_are_derivatives_by_the_charges(structure, method):
    charges = CHARGES.clone().requires_grad_()
    (potential,) = torch.autograd.grad(
        energy_of(structure, charges, solver=Solver(method, mesh_accuracy=1e-11)), charges
    )
    expected = coulomb_matrix(geometry_of(structure), structure.width)[0] @ CHARGES
    assert torch.allclose(potential, expected, rtol=0, atol=1e-7)


@ANY
@METHODS
@pytest.mark.parametrize("points", [False, True], ids=["gaussian", "point"])
def test_derivatives_of_first_and_second_order(structure, method, points):
    def energy(positions, cell, charges):
        return energy_of(
            structure, charges, width=POINTS if points else None, positions=positions, cell=cell, solver=Solver(method)
        )

    cell = structure.cell.clone().requires_grad_(bool(structure.pbc.any()))
    inputs = (structure.positions.clone().requires_grad_(), cell, CHARGES.clone().requires_grad_())
    assert torch.autograd.gradcheck(energy, inputs, fast_mode=True, atol=1e-5)
    assert torch.autograd.gradgradcheck(energy, inputs, fast_mode=True, atol=1e-4)


@METHODS
def test_point_charges_on_a_lattice(method):
    """Madelung's constant of rock salt, from its primitive cell."""
    cell = torch.tensor([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]], dtype=torch.float64) * 2.82
    found = coulomb_energy(
        [[0.0] * 3, [2.82, 0.0, 0.0]], cell, True, [1.0, -1.0], [0.0, 0.0], solver=Solver(method, mesh_accuracy=1e-10)
    )
    assert -found.item() * 2.82 / COULOMB == pytest.approx(1.7475645946, abs=1e-8)


def test_point_charges_in_the_open_and_beside_a_gaussian():
    pair = [[0.0, 0.0, 0.0], [0.0, 0.0, 1.5]]
    assert coulomb_energy(pair, None, False, [1.0, -2.0], [0.0, 0.0]).item() == pytest.approx(
        -2 * COULOMB / 1.5, rel=1e-14
    )
    gaussian = coulomb_energy(pair, None, False, [1.0, -2.0], [0.0, 0.8]).item()
    own = 4 * COULOMB / (2 * math.sqrt(math.pi) * 0.8)
    assert gaussian == pytest.approx(own - 2 * COULOMB / 1.5 * math.erf(1.5 / (math.sqrt(2) * 0.8)), rel=1e-14)


@ANY
def test_narrow_gaussians_less_their_own_energy_are_points(structure):
    narrow = 0.01 * torch.ones(6, dtype=torch.float64)
    own = COULOMB * CHARGES.square().sum() / (2 * math.sqrt(math.pi) * 0.01)
    found, expected = energy_of(structure, width=POINTS), energy_of(structure, width=narrow) - own
    neutral = CHARGES - CHARGES.mean()
    assert found.item() == pytest.approx(expected.item(), abs=1e-8)
    assert energy_of(structure, neutral, width=POINTS).item() < 0


def test_many_open_charges_in_blocks():
    """Rows of all pairs some at a time give what one matrix gives, with the same gradients."""
    generator = torch.Generator().manual_seed(0)
    positions = 20 * torch.rand(1500, 3, generator=generator, dtype=torch.float64)
    charges = torch.randn(1500, generator=generator, dtype=torch.float64)
    inputs = (positions.requires_grad_(), charges.requires_grad_())
    found = coulomb_energy(positions, None, False, charges, torch.full((1500,), 0.7, dtype=torch.float64))
    forces, potential = torch.autograd.grad(found, inputs)
    distances = (positions.unsqueeze(1) - positions).square().sum(-1)
    distances = (distances + torch.eye(1500)).sqrt()
    kernel = COULOMB * torch.erf(distances / (2 * 0.7)) / distances * (1 - torch.eye(1500))
    expected = charges @ kernel @ charges / 2 + COULOMB * charges.square().sum() / (2 * math.sqrt(math.pi) * 0.7)
    slopes, slope = torch.autograd.grad(expected, inputs)
    assert found.item() == pytest.approx(expected.item(), rel=1e-12)
    assert torch.allclose(forces, slopes, rtol=0, atol=1e-9)
    assert torch.allclose(potential, slope, rtol=0, atol=1e-9)


def test_arrays_are_as_good_as_tensors():
    box = crystal(6)
    arrays = {"positions": box.positions.numpy(), "cell": box.cell.numpy().tolist(), "pbc": np.array([True] * 3)}
    assert coulomb_energy(**arrays, charges=CHARGES.tolist(), width=box.width.numpy()).item() == energy_of(box).item()


def test_the_form_has_no_own_energy_of_points():
    form = coulomb_form(geometry_of(molecule(2)), torch.tensor([0.0, 0.5], dtype=torch.float64), "point")
    assert form.parameters[0].tolist() == pytest.approx([0.0, COULOMB / (math.sqrt(math.pi) * 0.5)])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": -POINTS - 0.1}, "width is -0.1 at least"),
        ({"charges": [1.0]}, r"charges has shape \(1,\), expected \(6,\)"),
        ({"background": "grey"}, "background is 'grey'"),
        ({"solver": "mesh"}, "expected a Solver"),
        ({"pbc": [True, False, False]}, "charges in wires"),
        ({"positions": torch.zeros(6, 3)}, "atoms 0 and 1 are less than 0.0.. Å apart"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_makes_no_energy_is_said(changes, message):
    with pytest.raises(ValueError, match=message):
        energy_of(crystal(6), **changes)
