"""Received covariants and their derivatives to third order against one einsum each that autograd differentiates."""

import pytest
import torch
from torch import Tensor

from all_derivatives import derivatives, random
from cace_qeq.features import received

N_ATOMS, N_SLOTS, N_RADIAL, N_CHANNELS = 5, 4, 3, 2


def senders() -> Tensor:
    return torch.randint(N_ATOMS, (N_ATOMS, N_SLOTS), generator=torch.Generator().manual_seed(1))


def plain(table: Tensor, covariants: Tensor) -> tuple[Tensor, Tensor]:
    sent = covariants[senders()]
    projected = torch.einsum("amk,akmc->akc", table[:, N_RADIAL:], sent)
    return projected, torch.einsum("ank,akmc->anmc", table[:, :N_RADIAL], sent)


def together(parts: tuple[Tensor, Tensor]) -> Tensor:
    return torch.cat([part.flatten() for part in parts])


def table_of(n_components: int) -> Tensor:
    """The last slot of some atoms is padding: radial functions vanish there."""
    table = random(N_ATOMS, N_RADIAL + n_components, N_SLOTS, seed=2)
    with torch.no_grad():
        table[2:, :N_RADIAL, 3] = 0
    return table


@pytest.mark.parametrize("n_components", [1, 4, 9])
def test_derivatives_equal_those_of_autograd(n_components):
    table, covariants = table_of(n_components), random(N_ATOMS, n_components, N_CHANNELS, seed=3)
    for found, expected in zip(
        derivatives(lambda t, u: together(received(t, u, senders(), N_RADIAL, None)), table, covariants),
        derivatives(lambda t, u: together(plain(t, u)), table, covariants),
        strict=True,
    ):
        scale = expected.abs().max().item()
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13 * scale)


def test_blocks_leave_out_padding_alone(monkeypatch):
    table, covariants = table_of(4), random(N_ATOMS, 4, N_CHANNELS, seed=4)
    projected, summed = received(table, covariants, senders(), N_RADIAL, None)
    monkeypatch.setattr("cace_qeq.features.densities.BLOCK_BYTES", 2 * N_SLOTS * 2 * 4 * N_CHANNELS * 8)
    in_blocks = received(table, covariants, senders(), N_RADIAL, torch.tensor([4, 4, 3, 3, 3]))
    torch.testing.assert_close(in_blocks[1], summed)
    torch.testing.assert_close(in_blocks[0][:2], projected[:2])
    assert not in_blocks[0][2:, 3].any()


def test_without_neighbours():
    table = torch.zeros(3, N_RADIAL + 4, 0, dtype=torch.float64, requires_grad=True)
    covariants = random(3, 4, N_CHANNELS, seed=5)
    parts = received(table, covariants, torch.zeros(3, 0, dtype=torch.int64), N_RADIAL, None)
    assert parts[0].shape == (3, 0, N_CHANNELS) and not parts[1].any()
    (gradient,) = torch.autograd.grad(together(parts).sum(), covariants)
    assert not gradient.any()
