import numpy as np
import pytest
import torch

from cace_qeq.structures import PROPERTIES
from cace_qeq.training.config import Weights
from cace_qeq.training.loss import Comparison, Loss
from cace_qeq.training.metrics import Parity, Tally, evaluation_of, parities, relative_errors

LOSS = Loss(Weights(energy=2, forces=1))


def comparisons(**errors):
    """Comparisons with the given errors; properties that are not named have no labels."""
    rows = [torch.tensor(errors.get(name, []), dtype=torch.float64) for name in PROPERTIES]
    ones = torch.ones_like
    return tuple(Comparison(torch.zeros_like(row), row, 0.5 * ones(row), ones(row)) for row in rows)


def test_errors_by_name_and_unit():
    tally = Tally.empty()
    tally.add(comparisons(energy=[0.003, -0.004], dipole=[0.1]), LOSS)
    metrics = tally.metrics()
    assert metrics["energy_rmse_mev_per_atom"] == pytest.approx((12.5) ** 0.5)
    assert metrics["energy_mae_mev_per_atom"] == pytest.approx(3.5)
    assert metrics["dipole_rmse_e_angstrom"] == pytest.approx(0.1)
    assert metrics["charges_rmse_me"] is None
    assert metrics["stress_mae_mev_per_angstrom3"] is None


def test_errors_beside_the_spread_of_the_labels():
    reference = np.array([1.0, 3.0, 5.0, 7.0])
    mean, off = np.full(4, 4.0), reference + 0.5
    found = relative_errors(
        {"forces": Parity(reference, mean), "energy": Parity(reference, off), "dipole": Parity(mean, mean)}
    )
    assert found["forces_percent_of_spread"] == pytest.approx(100)
    assert found["energy_percent_of_spread"] == pytest.approx(100 * 0.5 / 5**0.5)
    assert found["dipole_percent_of_spread"] is found["charges_percent_of_spread"] is None


def test_batches_add_up_to_one():
    parts, whole = Tally.empty(), Tally.empty()
    for errors in ([0.1, 0.2], [0.3]):
        parts.add(comparisons(forces=errors), LOSS)
    whole.add(comparisons(forces=[0.1, 0.2, 0.3]), LOSS)
    assert parts.metrics() == pytest.approx(whole.metrics())
    assert parts.loss(LOSS) == pytest.approx(whole.loss(LOSS))


def test_there_is_something_to_compare_with():
    with pytest.raises(ValueError, match="no frames to compare predictions with"):
        evaluation_of([], [])


def test_the_loss_weighs_mean_penalties():
    tally = Tally.empty()
    tally.add(comparisons(energy=[0.2], forces=[0.2, 0.4], charges=[9.0]), LOSS)
    assert tally.loss(LOSS) == pytest.approx(2 * 0.1**2 + (0.1**2 + 0.2**2) / 2)


def test_what_is_not_predicted_is_null():
    tally, nan = Tally.empty(), float("nan")
    tally.add(comparisons(energy=[0.1], charges=[nan, nan]), LOSS)
    assert tally.metrics()["charges_rmse_me"] is None
    assert tally.loss(LOSS) == pytest.approx(2 * 0.05**2)
    assert set(parities([comparisons(energy=[0.1], charges=[nan])])) == {"energy"}


def test_parity_joins_batches():
    parity = parities([comparisons(forces=[0.1, 0.2]), comparisons(forces=[0.3])])
    assert parity["forces"].predicted.tolist() == [0.1, 0.2, 0.3]
    assert parity["forces"].reference.tolist() == [0.0] * 3
