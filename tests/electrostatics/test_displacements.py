"""Squared distances against those of the definition."""

import torch
from torch.autograd import gradcheck, gradgradcheck

from cace_qeq.electrostatics.displacements import PairIndex, squared_distances

FIRST, SECOND = torch.tensor([0, 0, 1, 2, 3, 3]), torch.tensor([1, 3, 1, 0, 3, 2])
SHIFT = torch.tensor([[0, 1, -1, 2, 0, 0], [0, 0, 2, -1, 1, 0], [0, -1, 1, 0, 3, 0]], dtype=torch.float64)
INDEX = PairIndex(FIRST, SECOND, SHIFT, n_atoms=5)  # the last one without a partner


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape) + shape[0]), dtype=torch.float64)


def test_they_are_those_of_the_definition():
    positions, cell = random(5, 3), random(3, 3)
    vectors = positions[SECOND] + SHIFT.T @ cell - positions[FIRST]
    found = squared_distances(positions, cell, INDEX)
    assert torch.allclose(found, vectors.square().sum(1), rtol=1e-13)


def test_derivatives_of_first_and_second_order():
    inputs = (random(5, 3).requires_grad_(), random(3, 3).requires_grad_())
    assert gradcheck(lambda *tensors: squared_distances(*tensors, INDEX), inputs)
    assert gradgradcheck(lambda *tensors: squared_distances(*tensors, INDEX), inputs)
