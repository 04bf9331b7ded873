"""Which sums a structure gets."""

from dataclasses import replace

import numpy as np
import pytest

import zoo
from cace_qeq.lattice import LARGEST_DENSE, NO_MESH
from cace_qeq.planning import LARGEST_EXACT, SumSettings, closed_cell, plan_sums
from cace_qeq.slab import MARGIN, thickness_of

SETTINGS = SumSettings(largest_width=0.7, accuracy=1e-8)


def planned(atoms, **changes):
    return plan_sums(atoms.cell.array, atoms.pbc, atoms.positions, replace(SETTINGS, **changes))


@pytest.mark.parametrize("make", [zoo.water_box, zoo.slab])
@pytest.mark.parametrize("method", ["auto", "dense", "structure_factors"])
def test_small_structures_get_reciprocal_vectors(make, method):
    plan = planned(make(), method=method)
    assert plan.mesh == NO_MESH
    assert len(plan.triplets)


def test_large_crystals_get_a_mesh():
    box = zoo.water_box()
    assert len(box) * 8 < LARGEST_DENSE < len(box) * 9
    assert planned(box * (2, 2, 2)).mesh == NO_MESH
    plan = planned(box * (3, 3, 1))
    assert all(plan.mesh)
    assert plan.triplets.shape == (0, 3)


@pytest.mark.parametrize(("make", "repeats"), [(zoo.water_box, (2, 2, 2)), (zoo.slab, (8, 5, 1))])
def test_matrices_of_many_atoms_are_as_accurate_as_the_pairs_of_a_mesh(make, repeats):
    """Unless they are asked for, or the model asks for less."""
    atoms = make() * repeats
    assert LARGEST_EXACT < len(atoms) <= LARGEST_DENSE
    assert same(planned(atoms), planned(atoms, method="dense", accuracy=1e-7))
    assert same(planned(atoms, mesh_accuracy=1e-3), planned(atoms, method="dense", accuracy=1e-5))
    assert same(planned(atoms, accuracy=1e-4), planned(atoms, method="dense", accuracy=1e-4))
    assert not same(planned(atoms), planned(atoms, method="dense"))
    assert same(planned(make()), planned(make(), method="dense"))


def same(plan, other):
    return (plan.cutoff, plan.height, len(plan.triplets)) == (other.cutoff, other.height, len(other.triplets))


@pytest.mark.parametrize("make", [zoo.crystal, zoo.slab])
def test_a_mesh_on_demand(make):
    assert all(planned(make(), method="mesh").mesh)


def test_the_cell_of_a_slab_on_a_mesh_is_higher_than_slab_and_cutoff():
    atoms = zoo.slab() * (3, 3, 1)
    plan = planned(atoms, method="mesh")
    assert plan.height >= thickness_of(atoms.cell.array, atoms.pbc, atoms.positions) + plan.cutoff + MARGIN - 1e-9
    assert abs(np.linalg.det(closed_cell(atoms.cell.array, atoms.pbc, plan.height))) > 0


def test_a_strip_has_pairs_with_its_images():
    """Counted as one with each other atom, they made a cutoff of 47 Å for a strip that is 11 Å wide."""
    positions = np.random.default_rng(0).uniform(0, 1, (850, 3)) * [11, 200, 5]
    settings = SumSettings(1.0, 1e-12, "auto", 1e-5)
    plan = plan_sums(np.diag([11.0, 200.0, 0.0]), np.array([True, True, False]), positions, settings)
    assert plan.cutoff < 20


@pytest.mark.parametrize("length", [60.0, 200.0])
def test_the_vacuum_beside_an_island_is_not_meshed_finely(length):
    """In a wide cell the slab's is high as well: 200 Å made a mesh of 10⁹ points."""
    positions = np.random.default_rng(0).uniform(0, 1, (LARGEST_DENSE + 10, 3)) * [20, 20, 3]
    settings = SumSettings(1.0, 1e-12, "auto", 1e-10)
    plan = plan_sums(np.diag([length, length, 0.0]), np.array([True, True, False]), positions, settings)
    assert np.prod(plan.mesh[:3]) < 1e6
    assert plan.height > np.ptp(positions[:, 2]) + plan.cutoff
