"""Fragments, electrodes, fields and external charges, through `solve_charges`."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from cace_qeq.conditions import collate_imposed, nothing_imposed
from cace_qeq.electrostatics import (
    Conditions,
    Solver,
    constraints_of,
    coulomb_matrix,
    imposed_potential,
    solve_charges,
)
from cace_qeq.impose import Boundary, impose
from charged_structures import crystal, geometry_of, joined, molecule, slab

FRAGMENTS = [([0, 2], 0.4), ([1, 4], -1.0)]
ELECTRODES = [([0, 2, 3], 0.7), ([1, 4, 5], -0.3)]
UPWARDS = torch.linalg.cross(*slab().cell[slab().pbc])
UPWARDS = UPWARDS / UPWARDS.norm()
AROUND = {  # off the grid of the atoms
    "external_positions": [[1.1, 0.9, 1.3], [2.4, 4.6, 3.3]],
    "external_charges": [0.8, -0.5],
    "external_widths": [0.0, 1.5],  # the second wider than any atom
}
NO_CONDITIONS = [
    {"fragments": [[0, 1, 2]]},
    {"fragments": {0: 0.0}},
    {"electrodes": [("ab", 1.0)]},
    {"external_charges": -1.0},
    {"external_widths": [1.0]},
]
ALL_BOUNDARIES = pytest.mark.parametrize("make", [molecule, slab, crystal])


def solved(structure, **conditions):
    return solve_charges(**{**vars(structure), "pbc": structure.pbc.tolist()}, conditions=Conditions(**conditions))


def full_matrix(structure):
    return coulomb_matrix(geometry_of(structure), structure.width)[0] + torch.diag(structure.hardness)


def bordered(matrix, electronegativity, rows, values):
    """[[K, Cᵀ], [C, 0]] [q; λ] = [-χ; b]"""
    rows = torch.tensor(rows, dtype=torch.float64).view(-1, len(matrix))
    size = len(rows)
    system = torch.cat([torch.cat([matrix, rows.T], 1), torch.cat([rows, torch.zeros(size, size)], 1)])
    solution = torch.linalg.solve(system, torch.cat([-electronegativity, torch.tensor(values, dtype=torch.float64)]))
    return solution.split([len(matrix), size])


@ALL_BOUNDARIES
def test_fragments_keep_their_charges(make):
    structure = make(6, total_charge=0.5)
    found = solved(structure, fragments=FRAGMENTS)
    rows = [[1] * 6, [1, 0, 1, 0, 0, 0], [0, 1, 0, 0, 1, 0]]
    charges, multipliers = bordered(full_matrix(structure), structure.electronegativity, rows, [0.5, 0.4, -1.0])
    assert torch.allclose(found.charges, charges, rtol=0, atol=1e-10)
    assert found.multiplier.item() == pytest.approx(multipliers[0].item(), abs=1e-10)
    assert torch.allclose(found.fragment_multipliers, multipliers[1:], rtol=0, atol=1e-10)


def test_fragments_that_hold_every_atom_need_no_total():
    structure = molecule(4, total_charge=-0.6)
    fragments = [([0, 3], 0.4), ([1, 2], -1.0)]
    found = solved(structure, fragments=fragments)
    charges, multipliers = bordered(
        full_matrix(structure), structure.electronegativity, [[1, 0, 0, 1], [0, 1, 1, 0]], [0.4, -1.0]
    )
    assert torch.allclose(found.charges, charges, rtol=0, atol=1e-12)
    assert torch.allclose(found.fragment_multipliers, multipliers, rtol=0, atol=1e-12)
    assert found.multiplier.item() == 0


def test_one_fragment_of_all_is_the_total_charge():
    structure = crystal(5, total_charge=1.0)
    found, expected = solved(structure, fragments=[(range(5), 1.0)]), solved(structure)
    assert torch.allclose(found.charges, expected.charges, rtol=0, atol=1e-12)
    assert found.fragment_multipliers.item() == pytest.approx(expected.multiplier.item(), abs=1e-11)


def test_far_fragments_do_not_exchange_charge():
    """Where plain equilibration charges neutral molecules at any distance."""
    near = molecule(3)
    far = replace(
        near,
        positions=torch.cat([near.positions, near.positions + 1e4]),
        electronegativity=torch.cat([near.electronegativity, near.electronegativity + 2.0]),
        hardness=near.hardness.repeat(2),
        width=near.width.repeat(2),
    )
    found = solved(far, fragments=[([0, 1, 2], 0.0)]).charges
    assert torch.allclose(found, solved(near).charges.repeat(2), rtol=0, atol=1e-6)
    assert solved(far).charges[:3].sum() > 0.05


def test_an_electrode_in_vacuum_is_grand_canonical():
    """Ω = E - μQ at its minimum over Q, where dE/dQ = μ."""
    structure = molecule(5, total_charge=math.nan)
    found = solved(structure, electrodes=[(range(5), -4.0)])
    expected = torch.linalg.solve(full_matrix(structure), -(structure.electronegativity + 4.0))
    assert torch.allclose(found.charges, expected, rtol=0, atol=1e-12)
    assert found.multiplier.item() == 0
    total = found.charges.sum().item()
    canonical = solved(replace(structure, total_charge=total))
    assert -canonical.multiplier.item() == pytest.approx(-4.0, abs=1e-12)
    assert found.energy.item() == pytest.approx(canonical.energy.item() + 4.0 * total, abs=1e-11)


def test_the_grand_potential_falls_with_the_charge_that_flows_in():
    potential = torch.tensor(-4.0, dtype=torch.float64, requires_grad=True)
    found = solved(molecule(5, math.nan), electrodes=[(range(4), potential)], fragments=[([4], 0.3)])
    (slope,) = torch.autograd.grad(found.energy, potential)
    assert slope.item() == pytest.approx(-found.charges[:4].sum().item(), abs=1e-12)
    assert found.charges[4].item() == pytest.approx(0.3, abs=1e-13)


@ALL_BOUNDARIES
def test_electrodes_differ_by_their_potentials(make):
    structure = make(6)
    found = solved(structure, electrodes=ELECTRODES)
    slope = structure.electronegativity + full_matrix(structure) @ found.charges
    assert torch.allclose(slope[[0, 2, 3]], slope[0].expand(3), rtol=0, atol=1e-10)
    assert torch.allclose(slope[[1, 4, 5]], slope[0].expand(3) - 1.0, rtol=0, atol=1e-10)
    assert found.charges.sum().abs() < 1e-12
    shifted = solved(structure, electrodes=[(atoms, value + 5.0) for atoms, value in ELECTRODES])
    assert torch.allclose(shifted.charges, found.charges, rtol=0, atol=1e-11)


@pytest.mark.parametrize(
    ("structure", "field"),
    [(molecule(5), [0.3, -0.2, 0.5]), (molecule(5, 1.0), [0.3, -0.2, 0.5]), (slab(5), (0.4 * UPWARDS).tolist())],
    ids=["molecule", "ion", "slab"],
)
def test_a_field_is_a_slope_of_electronegativities(structure, field):
    tilted = structure.electronegativity - structure.positions @ torch.tensor(field, dtype=torch.float64)
    found = solved(structure, field=field)
    expected = solved(replace(structure, electronegativity=tilted))
    assert torch.equal(found.charges, expected.charges)
    assert torch.equal(found.energy, expected.energy)
    assert (found.charges - solved(structure).charges).abs().max() > 1e-3


def test_the_energy_of_a_field_is_that_of_the_dipole():
    structure = molecule(5)
    field = torch.tensor([0.3, -0.2, 0.5], dtype=torch.float64, requires_grad=True)
    found = solved(structure, field=field)
    (slope,) = torch.autograd.grad(found.energy, field)
    assert torch.allclose(-slope, found.charges @ structure.positions, rtol=0, atol=1e-12)


CASES = {
    "fragments": (molecule(5, 0.5), {"fragments": FRAGMENTS}),
    "charged slab of fragments": (slab(5, 0.5), {"fragments": FRAGMENTS}),
    "crystal of electrodes": (crystal(6), {"electrodes": ELECTRODES}),
    "ion in a field": (molecule(4, 1.0), {"field": [0.3, -0.2, 0.5]}),
    "slab in a field": (slab(5), {"field": (0.4 * UPWARDS).tolist()}),
    "molecule at a potential": (molecule(5, math.nan), {"electrodes": [(range(5), -4.0)]}),
    "external charges": (
        molecule(4, 1.0),
        {"external_positions": [[7.0, 0, 0], [0, 8.0, 1]], "external_charges": [0.8, -1.2]},
    ),
    "crystal with external charges": (crystal(4), AROUND),
    "charged slab with external charges": (slab(4, 1.0), AROUND),
}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_conjugate_gradients_find_the_same(case):
    structure, conditions = CASES[case]
    values = {**vars(structure), "pbc": structure.pbc.tolist(), "conditions": Conditions(**conditions)}
    found = solve_charges(**values, solver=Solver("structure_factors", tolerance=1e-12))
    for name, expected in vars(solve_charges(**values, solver=Solver("dense"))).items():
        assert torch.allclose(getattr(found, name), expected, rtol=0, atol=1e-10), name


@pytest.mark.parametrize("case", CASES, ids=str)
def test_forces_against_finite_differences(case):
    structure, conditions = CASES[case]
    positions = structure.positions.clone().requires_grad_()
    (slope,) = torch.autograd.grad(solved(replace(structure, positions=positions), **conditions).energy, positions)
    step = 1e-3
    for index in [(0, 0), (1, 1), (3, 2)]:

        def energy(amount, index=index):
            moved = structure.positions.clone()
            moved[index] += amount
            return float(solved(replace(structure, positions=moved), **conditions).energy)

        difference = (8 * (energy(step) - energy(-step)) - energy(2 * step) + energy(-2 * step)) / (12 * step)
        assert float(slope[index]) == pytest.approx(difference, abs=1e-6 * float(slope.abs().max()))


def test_derivatives_of_everything_imposed():
    structure = molecule(4, total_charge=math.nan)
    inputs = [0.3, -4.0, [0.1, 0.2, -0.3], [[7.0, 0, 0], [0, 8.0, 1]], [0.8, -1.2], [0.5, 0.0]]
    inputs = tuple(torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in inputs)

    def results(charge, potential, field, places, charges, widths):
        found = solved(
            structure,
            fragments=[([1], charge)],
            electrodes=[([0, 2, 3], potential)],
            field=field,
            external_positions=places,
            external_charges=charges,
            external_widths=widths.abs(),
        )
        return found.charges, found.energy, found.fragment_multipliers

    assert torch.autograd.gradcheck(results, inputs[:5] + (inputs[5].detach(),), fast_mode=True)
    assert torch.autograd.gradgradcheck(results, inputs[:5] + (inputs[5].detach(),), fast_mode=True)


def test_a_batch_of_unequal_conditions():
    structures = [molecule(5, 0.5), molecule(3, math.nan), slab(4), molecule(4, -0.6)]
    conditions = [
        {"fragments": FRAGMENTS},
        {"electrodes": [([0, 1], -4.0)], "fragments": [([2], 0.2)]},
        {},
        {"external_positions": [[9.0, 0, 0]], "external_charges": [1.0], "field": [0, 0, 0.1]},
    ]
    geometry = joined([geometry_of(structure) for structure in structures])
    width = torch.cat([structure.width for structure in structures])
    imposed = collate_imposed(
        [
            impose(Conditions(**one), Boundary(s.positions, s.cell, s.pbc, s.total_charge))
            for one, s in zip(conditions, structures, strict=True)
        ]
    )
    total = torch.tensor([structure.total_charge for structure in structures], dtype=torch.float64)
    constraints = constraints_of(geometry, imposed, total)
    potential = imposed_potential(geometry, width, imposed)
    assert constraints.rows.shape == (4, 3, 5)
    assert constraints.active.tolist() == [[True] * 3, [False, True, False], [True, False, False], [True, False, False]]
    assert constraints.values.tolist() == [[0.5, 0.4, -1.0], [0.0, 0.2, 0.0], [0.0, 0.0, 0.0], [-0.6, 0.0, 0.0]]
    for index, (one, structure) in enumerate(zip(conditions, structures, strict=True)):
        size = len(structure.positions)
        boundary = Boundary(structure.positions, structure.cell, structure.pbc, structure.total_charge)
        alone = imposed_potential(geometry_of(structure), structure.width, impose(Conditions(**one), boundary))
        assert torch.allclose(potential[geometry.structure == index], alone, rtol=0, atol=1e-14)
        assert not constraints.rows[index, :, size:].any()


def test_nothing_imposed_is_the_total_charge_alone():
    structure = molecule(3, 1.0)
    constraints = constraints_of(geometry_of(structure), nothing_imposed(3), torch.ones(1, dtype=torch.float64))
    assert constraints.rows.tolist() == [[[1.0, 1.0, 1.0]]]
    assert constraints.values.tolist() == [[1.0]]


def test_a_field_on_electrodes_is_a_capacitor_turned_around():
    """Two parallel plates at a voltage V and distance d in a field -V/d hold no more charge than without either."""
    grid = np.stack(np.meshgrid(np.arange(3), np.arange(3), [0.0, 10.0], indexing="ij"), -1).reshape(-1, 3)
    positions = grid * [3.0, 3.0, 1.0]
    upper = np.flatnonzero(positions[:, 2] > 5)
    lower = np.flatnonzero(positions[:, 2] < 5)
    ones = np.ones(len(positions))
    plates = {
        "positions": positions,
        "cell": np.diag([9.0, 9.0, 0.0]),
        "pbc": [True, True, False],
        "electronegativity": 4.0 * ones,
        "hardness": 6.0 * ones,
        "width": ones,
        "total_charge": 0.0,
    }
    at_voltage = Conditions(electrodes=[(lower, 0.0), (upper, 2.0)])
    in_field = Conditions(electrodes=[(lower, 0.0), (upper, 2.0)], field=[0.0, 0.0, -0.2])
    assert solve_charges(**plates, conditions=at_voltage).charges[upper].mean() > 0.01
    assert solve_charges(**plates, conditions=in_field).charges.abs().max() < 1e-12


@pytest.mark.parametrize("conditions", NO_CONDITIONS, ids=str)
def test_what_is_no_condition_is_refused_in_a_sentence(conditions):
    with pytest.raises(ValueError, match="expected"):
        solved(molecule(5), **conditions)


def test_a_field_may_hold_tensors():
    strength = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    found = solved(molecule(5), field=[0.0, 0.0, strength])
    (slope,) = torch.autograd.grad(found.energy, strength)
    dipole = (found.charges.detach() * molecule(5).positions[:, 2]).sum()
    assert slope.item() == pytest.approx(-dipole.item(), rel=1e-10)
