"""Training on Born charges: of cells whose charge flows along bonds, labelled by another model."""

import pytest
import torch
from ase.io import write

from cace_qeq.response import differentiable_born_charges, predict_response
from cace_qeq.structures import LabelKeys, to_batch
from cace_qeq.training import batches_for, evaluate, fit, read_labelled
from cace_qeq.training.config import parse_config
from cace_qeq.training.prepare import prepare
from small_models import SMALL, crystal, rattled, untrained_model

BONDS = {"charge_flow": "bonds"}


@pytest.fixture
def labelled(tmp_path):
    """Files of rattled crystals, and the model that knows their Born charges."""
    model = untrained_model(crystal(), seed=5, **BONDS)
    for name, count in (("train", 6), ("valid", 2)):
        frames = rattled(crystal(), count)
        for atoms in frames:
            response = predict_response(model, to_batch(atoms, model.geometry, 0.0))
            atoms.info["total_charge"] = 0
            atoms.arrays["REF_bec"] = response.born_charges.flatten(1).numpy()
        write(tmp_path / f"{name}.extxyz", frames)
    return tmp_path, model


def config_in(folder, weights=None, **changes):
    sizes = {name: value for name, value in SMALL.items() if name != "species"}
    values = {
        "data": {"train": str(folder / "train.extxyz"), "valid": str(folder / "valid.extxyz")},
        "model": {**sizes, **BONDS, **changes},
        "training": {
            "output": str(folder / "run"),
            "dtype": "float64",
            "epochs": 20,
            "batch_atoms": 24,
            "weights": weights or {"born_charges": 1.0},
        },
    }
    return parse_config(values, "test")


def test_a_model_has_no_error_on_its_own_born_charges(labelled):
    folder, model = labelled
    frames = read_labelled([folder / "valid.extxyz"], LabelKeys())
    found = evaluate(model, batches_for(model, frames, LabelKeys(), 0.0))
    assert found.metrics["born_charges_rmse_me"] < 1e-4
    free = untrained_model(crystal())
    assert evaluate(free, batches_for(free, frames, LabelKeys(), 0.0)).metrics["born_charges_rmse_me"] is None


def test_gradients_of_born_charges_are_those_of_finite_differences():
    model = untrained_model(crystal(), **BONDS)
    batch = to_batch(crystal(), model.geometry, 0.0)
    parameter = model.wiring.softness.strength
    (slope,) = torch.autograd.grad(differentiable_born_charges(model, batch).square().sum(), parameter)
    direction, step, ends = torch.randn_like(parameter), 1e-4, []
    for sign in (1, -1):
        moved = untrained_model(crystal(), **BONDS)
        with torch.no_grad():
            moved.wiring.softness.strength.add_(sign * step * direction)
        ends.append(float(predict_response(moved, batch).born_charges.square().sum()))
    assert float((slope * direction).sum()) == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-6)


def test_they_are_learned(labelled):
    folder, _ = labelled
    history = fit(config_in(folder)).history
    errors = [record["born_charges_rmse_me"] for record in history]
    assert errors[-1] < 0.5 * errors[0]


def test_where_charge_flows_freely_cells_have_none(labelled):
    folder, _ = labelled
    with pytest.raises(ValueError, match="weights.born_charges: .* train with charge_flow: bonds"):
        prepare(config_in(folder, charge_flow="free"))
