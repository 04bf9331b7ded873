"""Structures as tensors."""

import numpy as np
import pytest
import torch

import zoo
from brute_force import bonds_of
from cace_qeq.lattice import plan_ewald
from cace_qeq.slab import plan_slab
from cace_qeq.structures import GeometrySettings, to_batch
from listed_bonds import environment_bonds, ewald_bonds

SETTINGS = GeometrySettings(cutoff=3.5, largest_width=0.7, accuracy=1e-6)
NO_CHARGES = GeometrySettings(cutoff=3.5)


@pytest.mark.parametrize("make", zoo.EVERYTHING.values(), ids=zoo.EVERYTHING)
def test_a_structure_keeps_its_numbers(make):
    atoms = make()
    atoms.set_masses(np.arange(1.0, len(atoms) + 1))
    batch = to_batch(atoms, NO_CHARGES, 2.0)
    assert (batch.n_atoms, batch.n_structures) == (len(atoms), 1)
    assert batch.positions.tolist() == atoms.positions.tolist()
    assert batch.numbers.tolist() == atoms.numbers.tolist()
    assert batch.masses.tolist() == atoms.get_masses().tolist()
    assert batch.pbc.tolist() == [atoms.pbc.tolist()]
    assert batch.total_charge.tolist() == [2.0]
    np.testing.assert_array_equal(batch.cells[0], atoms.cell.array * atoms.pbc[:, None])
    assert environment_bonds(batch) == bonds_of(atoms, NO_CHARGES.cutoff)


def test_floats_are_double_and_integers_long():
    batch = to_batch(zoo.charged_crystal(), SETTINGS, 1)
    floats = [batch.positions, batch.masses, batch.cells, batch.total_charge, batch.ewald.split]
    table, terms = batch.neighbors, batch.ewald
    integers = [batch.numbers, batch.structure, table.index, table.shift, terms.triplets, terms.pairs.shift]
    assert {tensor.dtype for tensor in floats} == {torch.float64}
    assert {tensor.dtype for tensor in integers} == {torch.int64}


def test_a_batch_does_not_follow_its_atoms():
    atoms = zoo.crystal()
    batch = to_batch(atoms, SETTINGS, 0.0)
    before = batch.positions.clone()
    atoms.positions += 1.0
    assert torch.equal(batch.positions, before)


@pytest.mark.parametrize("make", zoo.CRYSTALS.values(), ids=zoo.CRYSTALS)
def test_ewald_terms_of_crystals_follow_the_plan(make):
    atoms = make()
    batch = to_batch(atoms, SETTINGS, 0.0)
    plan = plan_ewald(atoms.cell.array, len(atoms), SETTINGS.largest_width, SETTINGS.accuracy)
    assert batch.ewald.split.tolist() == [plan.split]
    assert batch.ewald.triplets[0].tolist() == plan.triplets.tolist()
    assert ewald_bonds(batch) == bonds_of(atoms, plan.cutoff)


@pytest.mark.parametrize(
    ("make", "settings"),
    [
        (zoo.ethanol, SETTINGS),
        (zoo.boxed_molecule, SETTINGS),
        (zoo.crystal, NO_CHARGES),
        (zoo.slab, NO_CHARGES),
    ],
    ids=["molecule", "boxed molecule", "crystal without charges", "slab without charges"],
)
def test_ewald_terms_are_empty_elsewhere(make, settings):
    terms = to_batch(make(), settings, 0.0).ewald
    assert terms.triplets.shape == (1, 0, 3)
    assert terms.split.tolist() == [1.0]
    assert (terms.pairs.center.shape, terms.pairs.shift.shape) == ((0,), (0, 3))


def test_ewald_terms_of_slabs_follow_the_plan():
    atoms = zoo.slab()
    batch = to_batch(atoms, SETTINGS, 0.0)
    plan = plan_slab(atoms.cell.array, atoms.pbc, atoms.positions, SETTINGS.largest_width, SETTINGS.accuracy)
    assert batch.ewald.split.tolist() == [plan.split]
    assert batch.ewald.height.tolist() == [plan.height]
    assert batch.ewald.triplets[0].tolist() == plan.triplets.tolist()
    assert ewald_bonds(batch) == bonds_of(atoms, plan.cutoff)


def test_charges_in_wires_are_refused():
    with pytest.raises(ValueError, match='vacuum, or use energy="none"'):
        to_batch(zoo.wire(), SETTINGS, 0.0)


@pytest.mark.parametrize("make", [zoo.ethanol, zoo.water_box, zoo.slab], ids=["molecule", "crystal", "slab"])
def test_two_atoms_at_one_place_are_refused(make):
    atoms = make()
    atoms.positions[-1] = atoms.positions[1] + 5e-4 * np.array([1, 0, 0])
    if atoms.pbc.any():
        atoms.positions[-1] += 2 * atoms.cell.array[0]  # through the boundary
    with pytest.raises(ValueError, match=f"atoms 1 and {len(atoms) - 1}: less than 0.001 Å apart"):
        to_batch(atoms, NO_CHARGES, 0.0)


def test_atoms_closer_than_their_charges_allow_are_refused():
    atoms = zoo.ethanol()
    atoms.positions[-1] = atoms.positions[1] + [0.0, 0.0, 0.0105]
    assert to_batch(atoms, SETTINGS, 0.0).n_atoms == len(atoms)
    atoms.positions[-1] = atoms.positions[1] + [0.0, 0.0, 0.0095]
    with pytest.raises(ValueError, match=f"atoms 1 and {len(atoms) - 1}: less than 0.0099 Å apart"):
        to_batch(atoms, SETTINGS, 0.0)
    assert to_batch(atoms, NO_CHARGES, 0.0).n_atoms == len(atoms)


def test_bad_positions_are_refused_before_neighbours_are_sought():
    atoms = zoo.ethanol()
    atoms.positions[3, 1] = np.nan
    with pytest.raises(ValueError, match="C2H6O, atom 3: position"):
        to_batch(atoms, SETTINGS, 0.0)
