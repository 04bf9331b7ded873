"""Boxes that time is measured on are the water they claim to be."""

import numpy as np
import pytest
from ase.neighborlist import neighbor_list

from speed.structures import GRAM_PER_CC, rotation, water_box


@pytest.mark.parametrize("n_per_side", [2, 4])
def test_water_has_one_gram_per_cubic_centimetre(n_per_side):
    atoms = water_box(n_per_side, seed=0)
    assert atoms.get_masses().sum() / atoms.get_volume() == pytest.approx(GRAM_PER_CC, rel=1e-12)


def test_gram_per_cc_in_atomic_units():
    assert pytest.approx(0.602214, rel=1e-5) == GRAM_PER_CC  # Avogadro's number, from anywhere


def test_molecules_are_whole_and_apart():
    atoms = water_box(4, seed=1)
    close = neighbor_list("d", atoms, 1.2)
    assert len(close) == 2 * 128  # both bonds of 64 molecules, seen from both ends, and nothing else
    assert close.min() > 0.9


def test_neighbours_are_those_of_water():
    """One atom per 9.97 Å³ gives 69.9 neighbours within 5.5 Å."""
    atoms = water_box(4, seed=2)
    n_neighbors = len(neighbor_list("i", atoms, 5.5)) / len(atoms)
    assert n_neighbors == pytest.approx(69.9, abs=2.5)  # molecules on a grid are not quite a liquid


def test_same_seed_same_box():
    assert np.array_equal(water_box(2, 3).positions, water_box(2, 3).positions)
    assert not np.array_equal(water_box(2, 3).positions, water_box(2, 4).positions)


def test_rotations_are_proper_and_uniform():
    random = np.random.default_rng(0)
    turns = np.array([rotation(random) for _ in range(4000)])
    identity = np.broadcast_to(np.eye(3), turns.shape)
    assert np.allclose(turns @ turns.transpose(0, 2, 1), identity, atol=1e-12)
    assert np.allclose(np.linalg.det(turns), 1.0, atol=1e-12)
    assert np.abs(turns.mean(axis=0)).max() < 5 / np.sqrt(3 * 4000)  # entries have variance 1/3; five deviations
