"""Expansions about labelled and predicted points: exact where they must be, of the right order elsewhere."""

from dataclasses import replace

import pytest
import torch
from ase.io import read, write

from cace_qeq.checkpoint import load_model
from cace_qeq.prediction import differentiable_predict, predict
from cace_qeq.training import fit, parse_config
from cace_qeq.training.config import Consistency, Weights
from cace_qeq.training.consistency import ConsistencyLoss, Point, random_steps
from cace_qeq.training.data import Example, joined
from cace_qeq.training.loss import Loss
from cace_qeq.training.prepare import prepare
from cace_qeq.training.step import SharedGradient
from small_runs import OneOf, small_config, small_values, trimers

TERMS = [{"taylor": 1.0}, {"taylor": 1.0, "about": "prediction"}, {"spatial": 1.0}]
GENERATOR = torch.Generator().manual_seed(0)
HESSIAN = torch.randn(6, 6, dtype=torch.float64, generator=GENERATOR)


def quadratic(positions):
    """Two atoms on E = x H x / 2."""
    symmetric, x = HESSIAN + HESSIAN.T, positions.flatten()
    energy = 0.5 * x @ symmetric @ x
    return Point(positions, energy[None], -(symmetric @ x).view(2, 3), torch.zeros(2, dtype=torch.int64))


def test_expansions_on_a_quadratic_surface():
    """The second order is exact; the first misses δ H δ / 2."""
    start, step = torch.randn(2, 2, 3, dtype=torch.float64, generator=GENERATOR)
    here, there = quadratic(start), quadratic(start + step)
    torch.testing.assert_close(here.estimate(there, order=2), there.energy)
    missed = there.energy - here.estimate(there, order=1)
    torch.testing.assert_close(missed, quadratic(step).energy)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    prepared = prepare(small_config(trimers(tmp_path_factory.mktemp("trimers"), n_train=7)))
    torch.nn.init.normal_(prepared.model.energy_head.linear.weight, generator=GENERATOR)
    return prepared


def own_labels(prepared):
    """The training frames as the model would have labelled them."""
    whole = joined(prepared.train)
    prediction = predict(prepared.model, whole.batch)
    return Example(whole.batch, replace(whole.labels, energy=prediction.energy, forces=prediction.forces))


def value(prepared, part, settings, size):
    prediction = differentiable_predict(prepared.model, part.batch)
    steps = torch.cat(random_steps(prepared.train, size, seed=3), dim=1)
    loss = ConsistencyLoss(settings, Loss(Weights(forces=1)), prepared.scale, 7, 7)
    return loss(prepared.model, part, prediction, steps)


@pytest.mark.parametrize("term", TERMS, ids=str)
@pytest.mark.parametrize("order", [1, 2])
def test_errors_of_a_consistent_model_are_one_order_higher(prepared, term, order):
    """A model that is its own teacher: the error grows like the step to the order plus one, the loss as its square."""
    part, settings = own_labels(prepared), Consistency(order=order, **term)
    small, large = (float(value(prepared, part, settings, size).detach()) for size in (1e-3, 2e-3))
    assert large / small == pytest.approx(2 ** (2 * (order + 1)), rel=0.05)  # the next order is 1e-3 Å away


@pytest.mark.parametrize("missing", ["energy", "forces"])
def test_missing_labels_leave_the_gradient_finite(prepared, missing):
    whole = own_labels(prepared)
    label = getattr(whole.labels, missing).clone()
    label[:2] = torch.nan
    part = replace(whole, labels=replace(whole.labels, **{missing: label}))
    loss = value(prepared, part, Consistency(taylor=1, spatial=1, order=2), size=0.02)
    parameters = list(prepared.model.parameters())
    assert float(loss.detach()) > 0
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_an_expansion_about_predictions_needs_no_label(prepared):
    """And is the one about labels where the model meets them."""
    met = own_labels(prepared)
    unknown = replace(met.labels, energy=met.labels.energy * torch.nan, forces=met.labels.forces * torch.nan)
    settings = Consistency(taylor=1, about="prediction")
    found = value(prepared, replace(met, labels=unknown), settings, 0.02)
    assert float(found.detach()) > 0
    torch.testing.assert_close(found, value(prepared, met, Consistency(taylor=1), 0.02))


def test_a_frame_that_weighs_little_counts_little_about_its_label(prepared):
    """But where predictions are compared with each other nobody need trust a label."""
    met = own_labels(prepared)
    wrong = met.labels.energy.clone()
    wrong[0] += 1000.0
    light = met.labels.weights.clone()
    light[0] = 1e-14
    labelled, right = (
        replace(met, labels=replace(met.labels, energy=e, weights=light)) for e in (wrong, met.labels.energy)
    )
    found, expected = (value(prepared, part, Consistency(taylor=1), 0.02) for part in (labelled, right))
    assert float(found.detach()) < 1.1 * float(expected.detach())
    for settings in (Consistency(spatial=1), Consistency(taylor=1, about="prediction")):
        torch.testing.assert_close(value(prepared, labelled, settings, 0.02), value(prepared, met, settings, 0.02))


STEP = 1e-5
SETTINGS = Consistency(taylor=2, spatial=3, displacement=0.05, order=2)


def gradient(prepared, rank=0, size=1, seed=5):
    shared = SharedGradient(OneOf(rank, size), prepared.model, prepared.scale)
    return shared(prepared.train, Loss(Weights(energy=10, forces=1), consistency=SETTINGS), seed)


def test_shares_add_up_and_the_seed_decides(prepared):
    joint, joint_loss = gradient(prepared)
    parts = [gradient(prepared, rank, 3) for rank in range(3)]
    assert sum(loss for _, loss in parts) == pytest.approx(joint_loss, rel=1e-12)
    total = sum(part for part, _ in parts)
    torch.testing.assert_close(total, joint, rtol=1e-9, atol=1e-9 * float(joint.abs().max()))
    assert gradient(prepared, seed=6)[1] != joint_loss


def test_gradient_is_the_derivative_of_the_loss(prepared):
    joint, _ = gradient(prepared)
    weight, losses = prepared.model.energy_head.linear.weight, []
    shared = SharedGradient(OneOf(0, 1), prepared.model, prepared.scale)
    start = sum(p.numel() for p in shared.parameters[: [p is weight for p in shared.parameters].index(True)])
    part = joint[start : start + weight.numel()].view_as(weight)
    direction = torch.sign(part)
    for sign in (1, -1):
        with torch.no_grad():
            weight.add_(sign * STEP * direction)
        losses.append(gradient(prepared)[1])
        with torch.no_grad():
            weight.sub_(sign * STEP * direction)
    assert (losses[0] - losses[1]) / (2 * STEP) == pytest.approx(float((part * direction).sum()), rel=1e-6)


def test_a_run_is_repeated_exactly_after_a_pause(tmp_path):
    terms = {"consistency": {"taylor": 1, "spatial": 1}}
    whole = fit(small_config(trimers(tmp_path), "whole", **terms))
    plain = fit(small_config(tmp_path, "plain"))
    fit(small_config(tmp_path, "paused", max_minutes=1e-6, **terms))  # one epoch, as no second one would end in time
    again = fit(small_config(tmp_path, "paused", **terms), "resume")
    states = [load_model(run.folder.model).state_dict() for run in (whole, again, plain)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not all(torch.equal(states[0][name], states[2][name]) for name in states[0])


def test_expansions_about_energies_that_nobody_knows_are_refused(tmp_path):
    for path in trimers(tmp_path).glob("*.extxyz"):
        frames = read(path, ":")
        for frame in frames:
            del frame.info["REF_energy"]
        write(path, frames)
    config = small_config(tmp_path, weights={"forces": 1}, consistency={"taylor": 1})
    with pytest.raises(ValueError, match=r"consistency\.taylor is 1\.0, but no training frame has the energy"):
        prepare(config)


def test_terms_without_weight_are_refused(tmp_path):
    with pytest.raises(ValueError, match="training.consistency: both weights are zero"):
        parse_config(small_values(tmp_path, consistency={"displacement": 0.02}), "test")


def test_both_terms_are_the_written_ones(prepared):
    """Equations C3 and C4 to first order, where one energy is missing."""
    part = joined(prepared.train)
    energy = part.labels.energy.clone()
    energy[0] = torch.nan
    part = replace(part, labels=replace(part.labels, energy=energy))
    steps = torch.cat(random_steps(prepared.train, 0.02, 3), dim=1)
    here = predict(prepared.model, part.batch)
    there = predict(prepared.model, replace(part.batch, positions=part.batch.positions + steps[0]))

    def work(forces, step):
        return torch.zeros_like(energy).index_add(0, part.batch.structure, (forces * step).sum(1))

    unit = 3 * prepared.scale  # of trimers
    missed = (there.energy - energy + work(part.labels.forces, steps[0])) / unit
    apart = (there.energy - work(there.forces, steps[1]) - here.energy + work(here.forces, steps.sum(0))) / unit
    loss = ConsistencyLoss(Consistency(taylor=2, spatial=3), Loss(Weights(forces=1)), prepared.scale, 6, 7)
    found = loss(prepared.model, part, differentiable_predict(prepared.model, part.batch), steps)
    torch.testing.assert_close(found, 2 * missed[1:].square().mean() + 3 * apart.square().mean())


def test_atoms_without_labelled_forces_contribute_the_models(prepared):
    met = own_labels(prepared)
    unknown = replace(met, labels=replace(met.labels, forces=met.labels.forces * torch.nan))
    found, expected = (value(prepared, part, Consistency(taylor=1), 0.02) for part in (unknown, met))
    torch.testing.assert_close(found, expected)


def test_terms_count_beside_energies_alone(prepared):
    shared = SharedGradient(OneOf(0, 1), prepared.model, prepared.scale)
    plain = Loss(Weights(energy=1))
    _, more = shared(prepared.train, replace(plain, consistency=Consistency(spatial=1)), 5)
    assert more > shared(prepared.train, plain, 5)[1] + 1e-9
