import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from cace_qeq.electrostatics import Conditions, Solver, solve_charges
from charged_structures import crystal, equilibrium_of, molecule


def arguments(structure, **changes):
    values = {
        "positions": structure.positions,
        "cell": structure.cell,
        "pbc": structure.periodic,
        "electronegativity": structure.electronegativity,
        "hardness": structure.hardness,
        "width": structure.width,
        "total_charge": structure.total_charge,
    }
    return {**values, **changes}


@pytest.mark.parametrize("background", ["point", "gaussian"])
@pytest.mark.parametrize("structure", [molecule(5, 1.0), crystal(6, -1.0)], ids=["open", "periodic"])
def test_agrees_with_a_batch(structure, background):
    found = solve_charges(**arguments(structure), background=background)
    expected = equilibrium_of(structure, 1.2, background)
    assert torch.allclose(found.charges, expected.charges, rtol=0, atol=1e-12)
    assert found.energy.item() == pytest.approx(expected.energy.item(), abs=1e-11)
    assert found.multiplier.item() == pytest.approx(expected.multipliers.item(), abs=1e-11)
    assert found.energy.shape == found.multiplier.shape == ()


@pytest.mark.parametrize("method", ["dense", "structure_factors", "mesh"])
@pytest.mark.parametrize("structure", [molecule(5), crystal(6)], ids=["open", "periodic"])
def test_atoms_closer_than_their_widths_allow_are_refused(structure, method):
    nearest = 0.01 * math.hypot(structure.width[0], structure.width[2])
    allowed, refused = (structure.positions.clone() for _ in range(2))
    for positions, times in ((allowed, 1.01), (refused, 0.99)):
        positions[2] = positions[0] + times * nearest * torch.tensor([0.6, 0.0, -0.8])
    solver = Solver(method)
    assert solve_charges(**arguments(structure, positions=allowed), solver=solver).charges.isfinite().all()
    with pytest.raises(ValueError, match=f"atoms 0 and 2 are less than {nearest:.2g} Å apart"):
        solve_charges(**arguments(structure, positions=refused), solver=solver)


@pytest.mark.parametrize("structure", [molecule(5), crystal(6)], ids=["open", "periodic"])
def test_charges_as_wide_as_they_like_leave_atoms_where_they_are(structure):
    """One of σ = 5 Å, and two atoms 0.06 Å apart, less than a hundredth of √2 σ."""
    blurred = Conditions(external_positions=[[3.0, 9.0, -4.0]], external_charges=[0.5], external_widths=[5.0])
    positions = structure.positions.clone()
    positions[2] = positions[0] + torch.tensor([0.0, 0.06, 0.0])
    found = solve_charges(**arguments(structure, positions=positions), conditions=blurred)
    assert float(found.charges.sum()) == pytest.approx(structure.total_charge, abs=1e-10)


def test_arrays_and_lists_are_as_good_as_tensors():
    structure = crystal(4)
    values = arguments(structure)
    arrays = {name: np.asarray(value) for name, value in values.items()}
    lists = {name: value.tolist() for name, value in arrays.items()}
    expected = solve_charges(**values).charges
    for other in (arrays, {**lists, "pbc": [True] * 3}):
        found = solve_charges(**other)
        assert found.charges.dtype == torch.float64
        assert torch.equal(found.charges, expected)


@pytest.mark.parametrize("edge", [40.0, 2000.0])
def test_a_cluster_in_vacuum_is_as_exact_on_a_mesh(edge):
    """To the accuracy of the mesh, 1e-5 of unit charges at 1 Å apart, over hardnesses of ten."""
    cluster = replace(molecule(20, 1.0), cell=edge * torch.eye(3, dtype=torch.float64))
    mesh, matrix = (solve_charges(**arguments(cluster), solver=Solver(method)).charges for method in ("mesh", "dense"))
    assert torch.allclose(mesh, matrix, rtol=0, atol=3e-5)


def test_arrays_of_any_layout_and_tensors_in_lists():
    structure = molecule(4)
    values = arguments(structure)
    expected = solve_charges(**values).energy
    backwards = {name: values[name].numpy()[::-1] for name in ("positions", "electronegativity", "hardness", "width")}
    backwards["hardness"] = backwards["hardness"].astype(">f8")
    assert solve_charges(**{**values, **backwards}).energy.item() == pytest.approx(expected.item(), rel=1e-12)
    first = structure.electronegativity[0].clone().requires_grad_()
    found = solve_charges(**{**values, "electronegativity": [first, *structure.electronegativity[1:].tolist()]})
    (slope,) = torch.autograd.grad(found.energy, first)
    assert slope.item() == pytest.approx(found.charges[0].item(), rel=1e-12)


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "Mesh"},
        {"tolerance": 0.0},
        {"iterations": -1},
        {"mesh_accuracy": 10.0},
        {"mesh_accuracy": 0.0},
    ],
)
def test_solvers_that_cannot_be(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        Solver(**changes)


@pytest.mark.parametrize("structure", [molecule(3, 1.0), crystal(2, 1.0)], ids=["open", "periodic"])
def test_results_carry_gradients_of_tensors(structure):
    names = ("positions", "electronegativity", "hardness", "width", "total_charge")
    values = {**arguments(structure), "total_charge": torch.tensor(1.0, dtype=torch.float64)}
    inputs = tuple(values[name].clone().requires_grad_() for name in names)

    def results(*tensors):
        solution = solve_charges(**{**values, **dict(zip(names, tensors, strict=True))})
        return solution.charges, solution.multiplier, solution.energy

    assert torch.autograd.gradcheck(results, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(results, inputs, fast_mode=True)


def test_the_cell_carries_gradients():
    structure = crystal(2, 1.0)
    inputs = (structure.cell.clone().requires_grad_(),)
    assert torch.autograd.gradcheck(lambda cell: solve_charges(**arguments(structure, cell=cell)).energy, inputs)


@pytest.mark.parametrize("pbc", [False, [False] * 3, np.zeros(3, dtype=bool)], ids=str)
def test_the_cell_of_a_molecule_is_ignored(pbc):
    structure = molecule(3)
    expected = solve_charges(**arguments(structure)).charges
    for cell in (None, structure.cell, 4.0 * np.eye(3)):
        assert torch.equal(solve_charges(**arguments(structure, pbc=pbc, cell=cell)).charges, expected)


def test_one_atom_takes_the_total_charge():
    assert solve_charges(**arguments(molecule(1, 2.0))).charges.tolist() == [2.0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"positions": torch.zeros(4, 2)}, r"positions has shape \(4, 2\), expected \(atom, 3\)"),
        ({"positions": torch.zeros(0, 3)}, "one atom or more"),
        ({"positions": [[0, 0, 0], [1, 0, math.nan], [2, 0, 0]]}, r"positions\[1, 2\] is nan"),
        ({"positions": [[0, 0, 0], [1, 0, 0], [0, 0, 0]]}, "atoms 0 and 2 are less than"),
        ({"electronegativity": [1.0, 2.0]}, r"electronegativity has shape \(2,\), expected \(3,\)"),
        ({"hardness": [1.0, 0.0, 2.0]}, r"hardness\[1\] is 0, expected a positive number"),
        ({"width": [1.0, 1.0, -2.0]}, r"width\[2\] is -2, expected a positive number"),
        ({"total_charge": math.inf}, "total_charge is inf"),
        ({"total_charge": [0.0, 1.0]}, "total_charge has shape"),
        ({"pbc": [True, False, False]}, "wires are not supported"),
        ({"pbc": [True, True, False]}, "has no volume along its periodic directions"),
        ({"pbc": [True, True]}, "three of either"),
        ({"pbc": True, "cell": None}, "cell is None"),
        ({"pbc": True, "cell": np.diag([5.0, 5.0, 0.0])}, "has no volume"),
        ({"pbc": True, "cell": [5.0, 5.0, 5.0]}, r"cell has shape \(3,\)"),
        ({"background": "none"}, "background is 'none'"),
    ],
)
def test_bad_input_is_explained(changes, message):
    with pytest.raises(ValueError, match=message):
        solve_charges(**arguments(molecule(3), **changes))


def test_an_atom_on_its_neighbours_image_is_found():
    structure = crystal(2)
    places = torch.stack([structure.positions[0], structure.positions[0] + structure.cell[1]])
    with pytest.raises(ValueError, match="atoms 0 and 1 are less than"):
        solve_charges(**arguments(replace(structure, positions=places)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"solver": "mesh"}, r"expected a Solver, such as Solver\('mesh'\)"),
        ({"conditions": None}, "expected Conditions"),
    ],
    ids=str,
)
def test_options_of_another_kind_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        solve_charges(**arguments(molecule(3)), **options)
