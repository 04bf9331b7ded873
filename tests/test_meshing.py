"""Plans of particle-mesh sums; what they achieve is tested with the mesh itself."""

import numpy as np
import pytest

import zoo
from cace_qeq.meshing import mesh_error, plan_mesh, quick_size

BOX = 25.0 * np.eye(3)
N_ATOMS = 1536


@pytest.mark.parametrize("order", [4, 5, 6, 7, 8])
def test_a_finer_mesh_is_better_by_the_power_of_its_splines(order):
    coarse, fine = (mesh_error(1.0, spacing, order, 0.1) for spacing in (0.12, 0.06))
    assert np.log2(coarse / fine) == pytest.approx(order, abs=0.3)


def test_a_higher_order_is_better():
    errors = [mesh_error(1.0, 0.5, order, 0.1) for order in (4, 5, 6, 7, 8)]
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize("accuracy", [1e-3, 1e-5, 1e-8])
def test_the_plan_expects_the_accuracy(accuracy):
    plan = plan_mesh(BOX, N_ATOMS, 0.6, accuracy)
    error = mesh_error(plan.split, 25.0 / plan.mesh[0], plan.mesh[3], N_ATOMS / 25.0**3)
    assert accuracy / 20 < error <= accuracy * 1.001


@pytest.mark.parametrize("width", [0.0, 0.6, 1.5])
def test_the_cutoff_covers_the_widest_pair(width):
    plan = plan_mesh(BOX, N_ATOMS, width, 1e-5)
    assert plan.cutoff >= np.sqrt(-2 * np.log(1e-7)) * max(np.sqrt(2) * width, plan.split) * (1 - 1e-12)


def test_pairs_stay_few_in_large_cells():
    """The cost of a plan is linear: a cell of eight times the atoms gets the same cutoff and eight times the mesh."""
    small, large = plan_mesh(BOX, N_ATOMS, 0.66, 1e-5), plan_mesh(2 * BOX, 8 * N_ATOMS, 0.66, 1e-5)
    assert large.cutoff == pytest.approx(small.cutoff, abs=0.51)
    assert small.cutoff < 6.5
    assert np.prod(large.mesh[:3]) < 12 * np.prod(small.mesh[:3])


@pytest.mark.parametrize("name", ["left_handed", "permuted", "mirrored"])
def test_handedness_and_order_of_vectors_do_not_matter(name):
    plan, reference = (plan_mesh(zoo.CRYSTALS[which]().cell.array, 6, 0.8, 1e-6) for which in (name, "crystal"))
    assert plan.split == pytest.approx(reference.split, rel=1e-12)
    assert sorted(plan.mesh[:3]) == sorted(reference.mesh[:3])


@pytest.mark.parametrize(("at_least", "size"), [(1.0, 2), (10.2, 12), (22.0, 24), (50.5, 54), (97.0, 98)])
def test_sizes_are_quick_to_transform(at_least, size):
    assert quick_size(at_least) == size


def test_a_cluster_in_a_large_cell_does_not_fill_its_vacuum_with_points():
    plan = plan_mesh(2000.0 * np.eye(3), 216, 0.66, 1e-5)
    assert plan.cutoff <= 1000.0  # half of the cell: each pair once at most
    assert np.prod(plan.mesh[:3]) < 1e5


def test_a_cutoff_that_is_given_is_kept_in_vacuum_too():
    assert plan_mesh(500.0 * np.eye(3), 216, 0.66, 1e-5, largest_cutoff=8.0).cutoff <= 8.0
