"""Densities and their derivatives to third order against one einsum that autograd differentiates."""

import pytest
import torch
from torch import Tensor

from all_derivatives import derivatives, random
from cace_qeq.features.densities import Block, Layout, blocks_of, density, gathered, last_slots

N_ATOMS, N_SLOTS, N_RADIAL, N_MONOMIALS = 5, 4, 3, 10
LAYOUT = Layout(N_RADIAL, (Block(0, 2, 4), Block(2, 5, 4)))


def plain(arriving: Tensor, table: Tensor) -> Tensor:
    return torch.einsum("akz,ank,amk->amnz", arriving, table[:, :N_RADIAL], table[:, N_RADIAL:])


def explicit(arriving: Tensor, table: Tensor) -> Tensor:
    return density(arriving, LAYOUT, table)


@pytest.mark.parametrize("n_channels", [1, 3, 4, 5, 7])
def test_derivatives_equal_those_of_autograd(n_channels):
    """Few and many channels are summed in different orders."""
    arriving = random(N_ATOMS, N_SLOTS, n_channels, seed=1)
    table = random(N_ATOMS, N_RADIAL + N_MONOMIALS, N_SLOTS, seed=2)
    for found, expected in zip(
        derivatives(explicit, arriving, table), derivatives(plain, arriving, table), strict=True
    ):
        scale = expected.abs().max().item()  # sums of products of a few numbers: a few units in the last place
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13 * scale)


def test_slots_beyond_the_width_of_a_block_do_not_count():
    arriving, table = random(5, 4, 3, seed=3), random(5, 13, 4, seed=4)
    with torch.no_grad():
        table[2:, :N_RADIAL, 2:] = 0
    narrow = Layout(N_RADIAL, (Block(0, 2, 4), Block(2, 5, 2)))
    torch.testing.assert_close(density(arriving, narrow, table), density(arriving, LAYOUT, table))


def test_only_derivatives_that_are_asked_for_are_computed(monkeypatch):
    arriving, table = random(5, 4, 3, seed=5), random(5, 13, 4, seed=6)
    result = density(arriving, LAYOUT, table)
    monkeypatch.setattr("cace_qeq.features.densities.table_gradient", lambda *_: pytest.fail("nobody asked"))
    (gradient,) = torch.autograd.grad(result.sum(), [arriving])
    assert gradient.shape == arriving.shape


def test_gathering_and_its_derivatives():
    channels = random(5, 3, seed=7)
    senders = torch.tensor([[1, 2], [0, 0], [2, 4], [3, 3], [1, 4]])
    for found, expected in zip(
        derivatives(lambda c: gathered(c, senders), channels),
        derivatives(lambda c: c[senders], channels),
        strict=True,
    ):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_blocks_hold_every_row_and_no_more_than_fits(monkeypatch):
    monkeypatch.setattr("cace_qeq.features.densities.BLOCK_BYTES", 2 * 6 * 8)
    within = torch.arange(6) < torch.tensor([3, 6, 0, 0, 2]).unsqueeze(1)
    assert blocks_of(within.shape, last_slots(within), 8) == (Block(0, 2, 6), Block(2, 4, 0), Block(4, 5, 2))


@pytest.mark.parametrize("shape", [(3, 0), (0, 0)])
def test_without_neighbours(shape):
    layout = Layout(N_RADIAL, blocks_of(shape, last_slots(torch.zeros(shape, dtype=torch.bool)), 8))
    table = torch.zeros(shape[0], 13, shape[1], dtype=torch.float64, requires_grad=True)
    result = density(torch.zeros(*shape, 2, dtype=torch.float64), layout, table)
    assert result.shape == (shape[0], N_MONOMIALS, N_RADIAL, 2) and not result.any()
    (gradient,) = torch.autograd.grad(result.sum(), table)
    assert gradient.shape == table.shape
