"""Messages and products of covariants: they turn with the structure and start at unit size."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

import zoo
from cace_qeq.config import ModelConfig
from cace_qeq.features import harmonics, independent_monomials
from cace_qeq.model import CACEQEq
from cace_qeq.nn import ace
from cace_qeq.nn.ace import Environments, ExpansionSettings, environments
from cace_qeq.nn.covariants import MessageSettings
from cace_qeq.nn.equivariant import CovariantMessage, EquivariantACE
from cace_qeq.prediction import predict
from cace_qeq.structures import collate, to_batch
from small_models import untrained_model

SETTINGS = ExpansionSettings(3, 4.0, 5, 3, 6, 3, 3, "complete", "none")


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def cluster(turn: Tensor) -> Environments:
    """Twelve atoms that all see each other, turned."""
    positions = 1.3 * torch.randn(12, 3, dtype=torch.float64, generator=generator(0)) @ turn
    senders = torch.tensor([[b for b in range(12) if b != a] for a in range(12)])
    return environments(positions[senders] - positions.unsqueeze(1), senders, SETTINGS)


def species() -> Tensor:
    return torch.arange(12) % SETTINGS.n_species


def representation(rank: int) -> EquivariantACE:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        built = EquivariantACE(SETTINGS, 3, MessageSettings(rank, 4)).double()
    built.calibrate(cluster(torch.eye(3, dtype=torch.float64)), species())
    return built


def covariants(built: EquivariantACE, around: Environments) -> Tensor:
    """What atoms send in the second round.  (component, atom, channel)"""
    (first, powers), (second, _), _ = built.rounds()
    assert isinstance(second, CovariantMessage)
    arrived = first([around], built.embedding, species())
    return second.covariants(powers(arrived, species()), species())


def rotation_of_components(turn: Tensor, rank: int) -> Tensor:
    """D with Y(u turn) = D Y(u), by least squares over random directions.  (component, component)"""
    directions = torch.nn.functional.normalize(torch.randn(60, 3, dtype=torch.float64, generator=generator(2)), dim=1)
    before, after = (harmonics(independent_monomials(d, rank), rank) for d in (directions, directions @ turn))
    return torch.linalg.lstsq(before.contiguous(), after.contiguous()).solution.T


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("handedness", [1.0, -1.0], ids=["rotated", "reflected"])
def test_covariants_turn_with_the_structure(rank, handedness):
    turn = handedness * torch.from_numpy(zoo.rotation(seed=4))
    built = representation(rank)
    before = covariants(built, cluster(torch.eye(3, dtype=torch.float64)))
    after = covariants(built, cluster(turn))
    matrix = rotation_of_components(turn, rank)
    torch.testing.assert_close(after, torch.einsum("kj,jac->kac", matrix, before), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("rank", [1, 3])
def test_everything_starts_at_unit_size(rank):
    built, around = representation(rank), cluster(torch.eye(3, dtype=torch.float64))
    features = built(around, species())[:, SETTINGS.species_channels :]
    torch.testing.assert_close(features.mean(0), torch.zeros_like(features[0]), rtol=0, atol=1e-9)
    assert features.square().mean().sqrt() < 1.01
    sent = covariants(built, around)
    for first, last in zip([k**2 for k in range(rank + 1)], [(k + 1) ** 2 for k in range(rank + 1)], strict=True):
        assert sent[first:last].square().mean().item() == pytest.approx(1.0, abs=1e-9)


def test_messages_carry_what_the_first_round_cannot_see():
    """Moving an atom two cutoffs away changes features with messages, and only with them."""
    line = torch.tensor([[0.0, 0, 0], [3.0, 0, 0], [6.0, 0.5, 0]], dtype=torch.float64)
    bent = line + torch.tensor([[0.0, 0, 0], [0, 0, 0], [0, 1.0, 0]], dtype=torch.float64)
    senders = torch.tensor([[1, 0], [0, 2], [1, 2]])
    built = representation(1)
    changes = []
    for positions in (line, bent):
        displacement = positions[senders] - positions.unsqueeze(1)
        displacement[0, 1] = displacement[2, 1] = torch.tensor([1000.0, 0, 0], dtype=torch.float64)  # padding
        around = environments(displacement, senders, SETTINGS)
        changes.append(built(around, torch.zeros(3, dtype=torch.int64))[0])
    change = (changes[1] - changes[0]).abs()
    first_round = SETTINGS.species_channels + SETTINGS.channels * SETTINGS.body_order
    assert change[:first_round].max() == 0
    assert change[first_round:].max() > 1e-3


def test_parts_give_what_the_whole_gives(monkeypatch):
    built, around = representation(2), cluster(torch.eye(3, dtype=torch.float64))
    found = []
    for rows in (12, 5):
        monkeypatch.setattr(ace, "SMALLEST_PART", rows)
        vectors = around.displacements.clone().requires_grad_()
        features = built(replace(around, displacements=vectors), species())
        found.append([features, *torch.autograd.grad(features.square().sum(), vectors)])
    torch.testing.assert_close(found[1], found[0], rtol=1e-12, atol=1e-12)


def test_an_under_sampled_quadrature_is_refused():
    config = ModelConfig(species=(1,), cutoff=4.0, message_rank=1, quadrature_degree=9)
    with pytest.raises(ValueError, match="takes degree 10"):
        CACEQEq(config)


def test_an_oversampled_quadrature_changes_nothing():
    around = cluster(torch.eye(3, dtype=torch.float64))
    reference = representation(1)
    other = EquivariantACE(SETTINGS, 3, replace(MessageSettings(1, 4), quadrature_degree=21)).double()
    other.load_state_dict(reference.state_dict())
    torch.testing.assert_close(other(around, species()), reference(around, species()), rtol=1e-11, atol=1e-11)


def test_normalised_atoms_do_not_know_the_rest_of_a_batch():
    atoms, other = zoo.ethanol(), zoo.ethanol()
    other.positions *= 1.3
    model = untrained_model(atoms, energy="none", message_rank=1, layers=2, normalization="rms")
    alone, beside = (to_batch(one, model.geometry, 0.0) for one in (atoms, other))
    found = predict(model, collate([alone, beside])).energy[0]
    torch.testing.assert_close(found, predict(model, alone).energy[0], rtol=0, atol=1e-9)
