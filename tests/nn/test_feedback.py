"""Charges handed back: to the atom itself, and to a round of the expansion that charges alone do not carry."""

import pytest
import torch

from cace_qeq.nn.ace import Environments, ExpansionSettings, environments
from cace_qeq.nn.feedback import EmbeddingFeedback, ReadoutFeedback

SETTINGS = ExpansionSettings(2, 4.0, 4, 3, 4, 2, 3, "complete", "none")
N_ATOMS, N_FEATURES = 6, 5


def random(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def around(positions: torch.Tensor) -> Environments:
    senders = torch.tensor([[b for b in range(N_ATOMS) if b != a] for a in range(N_ATOMS)])
    return environments(positions[senders] - positions.unsqueeze(1), senders, SETTINGS)


def compact() -> torch.Tensor:
    """Positions of atoms that all see each other."""
    return 0.8 * random(N_ATOMS, 3, seed=1)


@pytest.fixture
def round_of_charges() -> EmbeddingFeedback:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = EmbeddingFeedback(SETTINGS, N_FEATURES, 4).double()
    features, charges, species = inputs()
    made.calibrate(around(compact()), features, charges, species)
    return made


def inputs():
    return random(N_ATOMS, N_FEATURES, seed=2), 0.1 * random(N_ATOMS, seed=3), torch.arange(N_ATOMS) % 2


def test_an_atom_reads_its_own_charge():
    features, charges, species = inputs()
    found = ReadoutFeedback(N_FEATURES)(around(compact()), features, charges, species)
    assert torch.equal(found, torch.cat([features, charges.unsqueeze(1)], dim=1))


def test_an_atom_reads_its_neighbours_charges(round_of_charges):
    features, charges, species = inputs()
    charges.requires_grad_()
    found = round_of_charges(around(compact()), features, charges, species)
    assert found.shape == (N_ATOMS, round_of_charges.n_features)
    (slope,) = torch.autograd.grad(found[0, N_FEATURES + 1 :].square().sum(), charges)
    assert slope[1:].all() and slope[0] == 0


def test_moments_do_not_hang_on_messages_alone(round_of_charges):
    """With silent messages the round still sees where the neighbours are; without, training on charges diverged."""
    features, charges, species = inputs()
    with torch.no_grad():
        for parameter in round_of_charges.message[-1].parameters():
            parameter.zero_()
    positions = compact().requires_grad_()
    found = round_of_charges(around(positions), features, charges, species)
    (slope,) = torch.autograd.grad(found[0].square().sum(), positions)
    assert slope.abs().max() > 1e-3
