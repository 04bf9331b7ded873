"""Displacements of a table as a linear map; test_batch compares them with searches."""

import torch
from torch.autograd import gradcheck, gradgradcheck

from cace_qeq.structures.table import Neighbors

INDEX = torch.tensor([[1, 0], [0, 1], [2, 2]])  # an image of an atom with itself, and padding
SHIFT = torch.tensor([[[0, 1, 0], [-1, 2, 0]], [[0, -1, 0], [0, 0, 0]], [[0, 0, 0], [0, 0, 0]]])
MASK = torch.tensor([[True, True], [True, False], [False, False]])
TABLE = Neighbors(INDEX, SHIFT, MASK)


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape)), dtype=torch.float64)


def test_derivatives_of_first_and_second_order_in_cells_of_their_own():
    inputs = (random(3, 3).requires_grad_(), random(3, 3, 3).requires_grad_())
    assert gradcheck(TABLE.displacements, inputs)
    assert gradgradcheck(TABLE.displacements, inputs)


def test_derivatives_of_first_and_second_order_in_the_open():
    positions = random(3, 3).requires_grad_()
    assert gradcheck(lambda places: TABLE.displacements(places, None), positions)
    assert gradgradcheck(lambda places: TABLE.displacements(places, None), positions)
