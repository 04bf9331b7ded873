import numpy as np
import pytest
import torch

from cace_qeq.slab import MARGIN, closed_cells, plan_slab, shortest

FLAT = np.array([[4.0, 0.5, 0.3], [9.0, 9.0, 9.0], [-1.0, 5.0, 0.2]])
PBC = np.array([True, False, True])


def test_vacuum_covers_the_cutoff_and_lets_images_fade():
    positions = np.random.default_rng(0).uniform(-3, 3, size=(7, 3))
    plan = plan_slab(FLAT, PBC, positions, 0.8, 1e-10)
    normal = np.cross(*FLAT[PBC])
    thickness = np.ptp(positions @ normal / np.linalg.norm(normal))
    gap = plan.height - thickness - MARGIN
    slowest = 2 * np.pi * shortest(np.linalg.pinv(FLAT[PBC]).T)
    assert gap >= plan.cutoff - 1e-9
    assert np.exp(-slowest * gap) <= 1.001e-10


def test_closed_cells_stand_upright_and_leave_others_alone():
    cells = torch.tensor(np.stack([FLAT * PBC[:, None], np.zeros((3, 3)), FLAT]))
    pbc = torch.tensor([PBC.tolist(), [False] * 3, [True] * 3])
    closed, normal = closed_cells(cells, pbc, torch.tensor([20.0, 0.0, 0.0], dtype=torch.float64))
    assert torch.equal(closed[1:], cells[1:])
    assert not normal[1:].any()
    torch.testing.assert_close(closed[0, 1], 20.0 * normal[0], rtol=1e-14, atol=0)
    torch.testing.assert_close(closed[0, [0, 2]] @ normal[0], torch.zeros(2).double(), rtol=0, atol=1e-14)
    assert normal[0].norm().item() == pytest.approx(1.0, abs=1e-14)


@pytest.mark.parametrize("combinations", [[[1, 0], [0, 1]], [[1, 0], [17, 1]], [[3, 2], [7, 5]], [[0, 1], [1, -4]]])
def test_the_shortest_vector_does_not_depend_on_the_choice_of_cell(combinations):
    vectors = np.array([[2.0, 0.3, 0.1], [0.9, 2.5, -0.2]])
    assert shortest(np.array(combinations) @ vectors) == pytest.approx(np.linalg.norm(vectors[0]), rel=1e-12)


def test_two_equally_short_vectors():
    hexagonal = np.array([[1.0, 0.0, 0.0], [-0.5, np.sqrt(0.75), 0.0]])
    assert shortest(hexagonal) == pytest.approx(1.0, rel=1e-12)
