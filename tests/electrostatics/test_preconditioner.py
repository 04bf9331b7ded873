"""What the coarse mesh of the preconditioner costs."""

from math import prod

import torch

from cace_qeq.electrostatics.preconditioner import FEW_POINTS, coarse_shape, long_waves, surrounding_cell


def test_empty_space_between_far_atoms_is_not_filled_with_points():
    positions = torch.rand(200, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 15
    near = coarse_shape(surrounding_cell(positions), 200)
    assert near == (12, 12, 12)
    positions[-1] += 1000
    box = surrounding_cell(positions)
    assert FEW_POINTS / 4 < prod(coarse_shape(box, 200)) <= FEW_POINTS
    approximate = long_waves(positions, box, torch.full((200,), 10.0, dtype=torch.float64))
    residual = torch.linspace(-1, 1, 200, dtype=torch.float64)
    assert 0 < residual @ approximate(residual) <= residual @ residual / 10  # positive, and no more than alone
