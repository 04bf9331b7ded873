"""Training on Born charges: of cells whose charge flows along bonds, labelled by another model."""

import pytest
import torch
from ase.io import write
from lightning_fabric import Fabric

from cace_qeq.committee import Committee
from cace_qeq.response import differentiable_born_charges, predict_response
from cace_qeq.structures import LabelKeys, to_batch
from cace_qeq.training import batches_for, evaluate, evaluate_committee, fit, read_labelled
from cace_qeq.training.config import Weights, parse_config
from cace_qeq.training.data import examples_of
from cace_qeq.training.loss import Loss
from cace_qeq.training.prepare import prepare
from cace_qeq.training.step import SharedGradient
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


def test_structures_without_labels_or_dipole_leave_the_gradient_finite(labelled):
    """A labelled crystal, one without labels, and a charged one in a batch; also of the errors."""
    folder, model = labelled
    frames = read_labelled([folder / "valid.extxyz"], LabelKeys())
    bare = [frames[1].atoms.copy() for _ in range(2)]
    for atoms, charge in zip(bare, (0, 1), strict=True):
        del atoms.arrays["REF_bec"]
        atoms.info["total_charge"] = charge
    write(folder / "mixed.extxyz", [frames[0].atoms, *bare])
    mixed = read_labelled([folder / "mixed.extxyz"], LabelKeys())
    found = evaluate(model, batches_for(model, mixed, LabelKeys(), 0.0)).metrics
    assert found["born_charges_rmse_me"] < 1e-4
    gradient = SharedGradient(Fabric(accelerator="cpu", devices=1), model, 1.0)
    vector, value = gradient(examples_of(mixed, model.geometry, LabelKeys(), 0.0), Loss(Weights(born_charges=1)))
    assert vector.isfinite().all()
    assert 0 <= value < 1e-12


def test_charged_cells_with_labels_are_named(labelled):
    folder, _ = labelled
    frames = [frame.atoms for frame in read_labelled([folder / "train.extxyz"], LabelKeys())]
    frames[3].info["total_charge"] = 1
    write(folder / "train.extxyz", frames)
    with pytest.raises(ValueError, match="frame 3: it has Born charges as labels, but a cell that is charged"):
        prepare(config_in(folder))


def test_a_committee_has_the_errors_of_its_mean(labelled):
    folder, model = labelled
    other = untrained_model(crystal(), seed=6, **BONDS)
    frames = read_labelled([folder / "valid.extxyz"], LabelKeys())
    committee = Committee([model, other])
    found, spread = evaluate_committee(committee, batches_for(committee, frames, LabelKeys(), 0.0))
    alone = evaluate(other, batches_for(other, frames, LabelKeys(), 0.0)).metrics["born_charges_rmse_me"]
    assert found.metrics["born_charges_rmse_me"] == pytest.approx(alone / 2, rel=1e-4)
    assert spread["spread_born_charges_rms_me"] == pytest.approx(alone / 2**0.5, rel=1e-4)
