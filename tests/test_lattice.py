"""Plans of Ewald sums."""

import itertools

import numpy as np
import pytest
from ase.build import bulk
from scipy.special import erfc

import zoo
from brute_force import bonds_of
from cace_qeq.lattice import optimal_split, plan_ewald, plan_ewald_with_split, reciprocal_triplets

CELLS = {name: zoo.CRYSTALS[name]().cell.array for name in ("crystal", *zoo.SAME_CRYSTAL, "primitive_salt")}


def wave_vectors(cell, triplets):
    return 2 * np.pi * triplets @ np.linalg.inv(cell).T


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_triplets_are_one_of_each_pair_within_reach(cell):
    found = {tuple(triplet) for triplet in reciprocal_triplets(cell, 5.0).tolist()}
    opposite = {tuple(-n for n in triplet) for triplet in found}
    everything = np.array(list(itertools.product(range(-14, 15), repeat=3)))
    length = np.linalg.norm(wave_vectors(cell, everything), axis=1)
    expected = {tuple(t) for t in everything[(length > 0) & (length <= 5.0)].tolist()}
    assert abs(np.array(sorted(expected))).max() < 14  # the search itself reaches far enough
    assert found | opposite == expected
    assert not found & opposite


@pytest.mark.parametrize("name", zoo.SAME_CRYSTAL)
def test_handedness_and_choice_of_vectors_do_not_change_the_plan(name):
    plan, reference = plan_ewald(CELLS[name], 6, 0.8, 1e-8), plan_ewald(CELLS["crystal"], 6, 0.8, 1e-8)
    assert plan.split == pytest.approx(reference.split, rel=1e-12)
    assert plan.cutoff == pytest.approx(reference.cutoff, rel=1e-12)
    assert len(plan.triplets) == len(reference.triplets)


@pytest.mark.parametrize("width", [0.0, 0.3, 3.0])
@pytest.mark.parametrize("accuracy", [1e-4, 1e-10])
def test_the_cutoff_covers_the_split_and_the_widest_pair(width, accuracy):
    plan = plan_ewald(CELLS["crystal"], 6, width, accuracy)
    for reach in (plan.split, np.sqrt(2) * width):
        assert erfc(plan.cutoff / (np.sqrt(2) * max(reach, 1e-9))) <= accuracy


def test_the_split_scales_with_the_cell():
    assert optimal_split(8 * 500.0, 20) == pytest.approx(2 * optimal_split(500.0, 20), rel=1e-12)


@pytest.mark.parametrize("split", [0.35, 0.6, 1.0])
def test_madelung_constant_of_rock_salt_for_any_split(split):
    """1.7475645946 per nearest-neighbour distance, within the accuracy of the plan."""
    atoms = bulk("NaCl", "rocksalt", a=2.0)  # nearest neighbours at 1
    charges = np.array([1.0, -1.0])
    plan = plan_ewald_with_split(atoms.cell.array, split, 0.0, 1e-10)
    bonds = np.array(sorted(bonds_of(atoms, plan.cutoff)))
    center, neighbor, shift = bonds[:, 0], bonds[:, 1], bonds[:, 2:]
    vectors = atoms.positions[neighbor] - atoms.positions[center] + shift @ atoms.cell.array
    distance = np.linalg.norm(vectors, axis=1)
    real = (charges[center] * charges[neighbor] * erfc(distance / (np.sqrt(2) * split)) / distance).sum() / 2
    k = wave_vectors(atoms.cell.array, plan.triplets)
    squared = (k**2).sum(axis=1)
    factor = abs(np.exp(1j * k @ atoms.positions.T) @ charges) ** 2
    reciprocal = 4 * np.pi / atoms.get_volume() * (factor * np.exp(-(split**2) * squared / 2) / squared).sum()
    own = -(charges**2).sum() / (np.sqrt(2 * np.pi) * split)
    assert -(real + reciprocal + own) == pytest.approx(1.7475645946, abs=1e-8)


def test_no_triplets_below_the_shortest_reciprocal_vector():
    assert reciprocal_triplets(np.eye(3), 6.2).shape == (0, 3)
    assert reciprocal_triplets(np.eye(3), 6.3).shape == (3, 3)
