from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from cace_qeq.structures import PROPERTIES, Labels
from cace_qeq.training.config import Weights, parse_config
from cace_qeq.training.loss import Comparison, Loss, compare, count_labels

NAN = torch.nan
SCALE = 2.0  # eV/Å


def doubles(*values):
    return torch.tensor(values, dtype=torch.float64)


@pytest.fixture
def labels():
    """A molecule of two atoms with energy and charges, and a crystal of one with forces and stress."""
    return Labels(
        energy=doubles(10.0, NAN),
        forces=doubles([NAN] * 3, [NAN] * 3, [0.0, 0.0, 0.0]),
        stress=torch.stack([torch.full((3, 3), NAN), torch.zeros(3, 3)]).double(),
        charges=doubles(0.5, -0.5, NAN),
        dipole=torch.full((2, 3), NAN).double(),
        born_charges=torch.full((3, 3, 3), NAN).double(),
        weights=torch.ones(2, 6).double(),
    )


@pytest.fixture
def prediction():
    return SimpleNamespace(
        energy=doubles(10.2, 99.0),
        forces=doubles([9.0] * 3, [9.0] * 3, [0.4, 0.0, 0.0]),
        stress=torch.stack([torch.full((3, 3), NAN), torch.full((3, 3), 0.01)]).double(),
        charges=doubles(0.6, -0.5, 7.0),
        dipole=torch.full((2, 3), NAN).double(),
    )


@pytest.fixture
def batch():
    return SimpleNamespace(structure=torch.tensor([0, 0, 1]), n_structures=2, volumes=doubles(0.0, 20.0))


def test_each_term_is_in_the_unit_of_the_loss(labels, prediction, batch):
    energy, forces, stress, charges, dipole, born = compare(prediction, labels, batch, SCALE)
    scaled = [(part.error * part.to_loss).tolist() for part in (energy, forces, stress, charges)]
    assert scaled[0] == pytest.approx([0.1 / SCALE])
    assert scaled[1] == pytest.approx([0.4 / SCALE, 0, 0])
    assert scaled[2] == pytest.approx([0.01 * 20.0 / SCALE] * 9)
    assert scaled[3] == pytest.approx([0.1, 0.0])
    assert len(dipole.error) == len(born.error) == 0


def test_missing_labels_contribute_nothing(labels, prediction, batch):
    loss = Loss(Weights(energy=1, forces=2, stress=3, charges=4, dipole=5))
    counts = count_labels(labels)
    assert counts.tolist() == [1, 3, 9, 2, 0, 0]
    expected = 0.05**2 + 2 * 0.2**2 / 3 + 3 * 0.1**2 + 4 * 0.1**2 / 2
    assert float(loss.total(compare(prediction, labels, batch, SCALE), counts)) == pytest.approx(expected)


def test_weights_of_structures_multiply_what_errors_cost(labels, prediction, batch):
    weights = torch.arange(12, dtype=torch.float64).view(2, 6)  # 0 to 5 of the molecule, 6 to 11 of the crystal
    comparisons = compare(prediction, replace(labels, weights=weights), batch, SCALE)
    assert [part.weight.unique().tolist() for part in comparisons] == [[0.0], [7.0], [8.0], [3.0], [], []]
    expected = 7 * 0.2**2 / 3 + 8 * 0.1**2 + 3 * 0.1**2 / 2
    loss = Loss(Weights(energy=1, forces=1, stress=1, charges=1))
    assert float(loss.total(comparisons, count_labels(labels))) == pytest.approx(expected)


def test_shares_of_a_batch_add_up(labels, prediction, batch):
    loss, counts = Loss(Weights(forces=1, charges=1)), 2 * count_labels(labels)
    comparisons = compare(prediction, labels, batch, SCALE)
    half = loss.total(comparisons, counts)
    assert float(2 * half) == pytest.approx(float(loss.total(comparisons, count_labels(labels))))


def test_without_labels_the_loss_is_zero_and_differentiable(labels, prediction, batch):
    total = Loss(Weights(dipole=1)).total(compare(prediction, labels, batch, SCALE), count_labels(labels))
    total.backward()
    assert total.item() == 0.0
    assert (total.device, total.dtype) == (prediction.energy.device, prediction.energy.dtype)


def test_huber_is_square_inside_and_linear_outside():
    error = doubles(0.0, 0.05, 0.1, 0.3).requires_grad_()
    comparison = Comparison(torch.zeros(4).double(), error, *torch.ones(2, 4).double())
    penalties = Loss(Weights(forces=1), delta=0.1).penalties(comparison)
    torch.testing.assert_close(penalties, doubles(0.0, 0.0025, 0.01, 0.05))
    (slope,) = torch.autograd.grad(penalties.sum(), error)
    torch.testing.assert_close(slope, doubles(0.0, 0.1, 0.2, 0.2))


def test_the_configuration_chooses_the_penalty():
    values = {
        "data": {"train": "a"},
        "model": {},
        "training": {"output": "b", "loss": "huber", "huber_delta": 0.3},
    }
    config = parse_config(values, "test").training
    assert Loss.of(config, config.weights).delta == 0.3
    squares = parse_config({**values, "training": {"output": "b"}}, "test").training
    assert Loss.of(squares, squares.weights).delta == float("inf")


def test_properties_are_the_labels():
    assert set(PROPERTIES) == set(Labels.__dataclass_fields__) - {"weights"} == set(Weights.model_fields)
