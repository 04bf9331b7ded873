from dataclasses import replace

import pytest
import torch
from ase import Atoms
from ase.io import read, write
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from cace_qeq.structures import PROPERTIES
from cace_qeq.training import step
from cace_qeq.training.baseline import refit_reference_energies
from cace_qeq.training.config import Weights
from cace_qeq.training.loss import Loss
from cace_qeq.training.prepare import prepare
from cace_qeq.training.step import SharedGradient, clipped
from small_runs import OneOf, small_config, trimers


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return prepare(small_config(trimers(tmp_path_factory.mktemp("trimers"), n_train=7)))


def gradient(prepared, rank, size):
    shared = SharedGradient(OneOf(rank, size), prepared.model, prepared.scale)
    return shared(prepared.train, Loss(Weights(energy=10, forces=1, charges=1)))


@pytest.mark.parametrize("size", [2, 3, 9])
def test_shares_add_up_to_the_joint_batch(prepared, size):
    """With 9 processes for 7 structures, two have nothing to do."""
    joint, joint_loss = gradient(prepared, 0, 1)
    parts = [gradient(prepared, rank, size) for rank in range(size)]
    total = sum(part for part, _ in parts)
    assert sum(loss for _, loss in parts) == pytest.approx(joint_loss, rel=1e-12)
    torch.testing.assert_close(total, joint, rtol=1e-9, atol=1e-9 * float(joint.abs().max()))  # order of sums


def test_gradient_is_the_derivative_of_the_loss(prepared):
    joint, _ = gradient(prepared, 0, 1)
    direction, step = torch.sign(joint), 1e-6
    parameters = SharedGradient(OneOf(0, 1), prepared.model, prepared.scale).parameters
    start = parameters_to_vector(parameters).detach()
    losses = []
    for sign in (1, -1):
        vector_to_parameters(start + sign * step * direction, parameters)
        losses.append(gradient(prepared, 0, 1)[1])
    vector_to_parameters(start, parameters)
    slope = (losses[0] - losses[1]) / (2 * step)
    assert slope == pytest.approx(float((joint * direction).sum()), rel=1e-6)  # error of the difference


def test_no_forces_are_worked_out_where_no_loss_needs_them(prepared, monkeypatch):
    """Energies and charges have the same gradient with and without derivatives by position."""
    weights = Weights(energy=10, charges=1)
    shared = SharedGradient(OneOf(0, 1), prepared.model, prepared.scale)
    quick, quick_loss = shared(prepared.train, Loss(weights))
    monkeypatch.setattr(step, "differentiable_energies", step.differentiable_predict)
    full, full_loss = shared(prepared.train, Loss(weights))
    assert quick_loss == full_loss
    torch.testing.assert_close(quick, full, rtol=1e-12, atol=1e-14)


def test_molecules_beside_crystals_leave_the_gradient_finite(tmp_path):
    """The stress of a molecule is NaN and must not reach the gradient."""
    crystal = Atoms("Ag", positions=[(0, 0, 0)], cell=[3, 3, 3.1], pbc=True, info={"total_charge": 0})
    crystal.info |= {"REF_stress": [0.1] * 6, "REF_energy": -100.0}
    molecules = read(trimers(tmp_path) / "train.extxyz", ":2")
    write(tmp_path / "train.extxyz", [crystal, *molecules])
    weights = {"energy": 1, "forces": 1, "stress": 1, "charges": 1, "dipole": 1}
    prepared = prepare(small_config(tmp_path, weights=weights))
    shared = SharedGradient(OneOf(0, 1), prepared.model, prepared.scale)
    vector, _ = shared(prepared.train, Loss(Weights(**weights)))
    assert vector.isfinite().all()


def test_clipping_shortens_and_keeps_the_direction():
    long, short = torch.tensor([30.0, 40.0]), torch.tensor([0.3, 0.4])
    torch.testing.assert_close(clipped(long, 5.0), torch.tensor([3.0, 4.0]))
    torch.testing.assert_close(clipped(short, 5.0), short)
    assert clipped(torch.zeros(2), 5.0).tolist() == [0.0, 0.0]


def test_a_stress_alone_can_be_learned(tmp_path):
    crystal = Atoms("Ag", positions=[(0, 0, 0)], cell=[3, 3, 3.1], pbc=True)
    crystal.info |= {"total_charge": 0, "REF_stress": [0.1] * 6}
    for name in ("train", "valid"):
        write(tmp_path / f"{name}.extxyz", [crystal] * 2)
    prepared = prepare(small_config(tmp_path, weights={"stress": 1}))
    shared = SharedGradient(OneOf(0, 1), prepared.model, 1.0)
    vector, value = shared(prepared.train, Loss(Weights(stress=1)))
    assert 0 < value < float("inf") and vector.isfinite().all()


def test_frames_without_weight_do_not_move_reference_energies(prepared):
    first, *others = prepared.train
    weights, found = first.labels.weights.clone(), []
    weights[:, PROPERTIES.index("energy")] = 1e-14
    start = prepared.model.reference_energies.clone()
    for error in (0.0, 1000.0):
        labels = replace(first.labels, energy=first.labels.energy + error, weights=weights)
        refit_reference_energies(prepared.model, [replace(first, labels=labels), *others])
        found.append(prepared.model.reference_energies.clone())
        prepared.model.set_reference_energies(start)
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-6)
