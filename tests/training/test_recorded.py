"""Recorded networks train as the network itself does."""

import shutil

import pytest
import torch
from ase import Atoms
from torch.func import functional_call

import zoo
from cace_qeq.prediction import differentiable_predict
from cace_qeq.structures import AtomicBatch, collate, to_batch
from cace_qeq.training import fit, recorded
from cace_qeq.training.recorded import RecordedPotential
from small_models import cluster, crystal, untrained_model
from small_runs import small_config, trimers

compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
TINY = {"channels": 2, "n_radial": 2, "l_max": 1, "body_order": 2, "hidden": (2,), "energy": "none"}
FIELDS = ("energy", "atom_energies", "forces", "stress", "surface_stress")


def model_of(atoms: Atoms, **changes):
    return untrained_model(atoms, **{**TINY, **changes}).train()


def prepared(model, *structures: Atoms) -> AtomicBatch:
    return collate([to_batch(atoms, model.geometry, 0.0) for atoms in structures])


def assert_same(model, potential: RecordedPotential, batch: AtomicBatch) -> None:
    """Values, and the gradient of a loss of all of them; sums are taken in another order."""
    gradients = []
    for prediction in (potential.predict(batch), differentiable_predict(model, batch)):
        known = [value[value.isfinite()] for value in (getattr(prediction, name) for name in FIELDS)]
        loss = torch.stack([value.square().sum() for value in known]).sum()
        gradients.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))]))
        gradients.append(torch.cat(known).detach())
    for found, expected in zip(gradients[:2], gradients[2:], strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10 * float(expected.abs().max()))


@pytest.mark.parametrize("changes", [{}, {"layers": 2, "message_rank": 1, "message_channels": 2}], ids=str)
def test_slopes_by_displacements_are_forces_and_stress(monkeypatch, changes):
    """Without recording anything: of molecules, crystals and slabs together, with atoms that are not there."""
    monkeypatch.setattr(recorded, "generated", lambda network, tensors: network)
    structures = [zoo.crystal(), zoo.dimer(), zoo.slab(), zoo.skewed(), zoo.left_handed()]
    model = model_of(structures[0] + structures[2], **changes)
    known = [atoms for atoms in structures if set(atoms.numbers) <= set(model.config.species)]
    assert len(known) > 2
    assert_same(model, RecordedPotential(model), prepared(model, *known))


@pytest.mark.parametrize(
    "changes",
    [
        {"layers": 2, "message_rank": 1, "normalization": "rms", "residual": True},
        {"layers": 2, "message_rank": 1, "product_passes": 2},
        {"compression": "asinh"},
        {"body_order": 4, "l_max": 2},
        {"body_order": 3, "l_max": 2, "couplings": "paths", "layers": 2},
    ],
    ids=str,
)
def test_recorded_operations_have_the_gradients_of_the_network(monkeypatch, changes):
    """Without a compiler; also of values that slopes use again, such as the root of a normalisation."""
    monkeypatch.setattr(torch, "compile", lambda operations, **_: operations)
    model = model_of(cluster(), message_channels=2, **changes)
    assert_same(model, RecordedPotential(model), prepared(model, cluster()))


def test_frozen_parameters_are_no_hindrance(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda operations, **_: operations)
    model = model_of(cluster(), layers=2)
    model.representation.requires_grad_(False)
    batch = prepared(model, cluster())
    prediction = RecordedPotential(model).predict(batch)
    prediction.energy.sum().backward()
    assert {name for name, p in model.named_parameters() if p.grad is not None} == {
        name for name, p in model.named_parameters() if p.requires_grad
    }


@compiler
def test_generated_code_trains_as_the_network_does():
    """One code serves fewer atoms too, and follows parameters as they change."""
    model = model_of(cluster(), layers=2, message_rank=1, message_channels=2)
    potential = RecordedPotential(model)
    assert_same(model, potential, prepared(model, cluster()))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.1)
    assert_same(model, potential, prepared(model, cluster()[:6]))
    assert len(potential.recorded) == 1


def test_what_is_recorded_serves_smaller_batches_but_not_much_smaller_ones():
    potential = RecordedPotential(model_of(cluster()))
    assert potential.shape_for(30, 11) == (32, 16)
    potential.recorded[48, 24] = potential.network
    assert potential.shape_for(48, 24) == potential.shape_for(40, 20) == (48, 24)
    assert potential.shape_for(30, 11) == (32, 16)
    assert potential.shape_for(49, 3) == (52, 8)
    assert potential.shape_for(36, 8) == (36, 8)
    assert potential.shape_for(321, 3) == (340, 8)


def test_what_says_something_else_is_refused(monkeypatch):
    model = model_of(cluster())
    monkeypatch.setattr(
        recorded, "generated", lambda network, _: lambda *tensors: tuple(1.001 * value for value in network(*tensors))
    )
    with pytest.raises(
        RuntimeError,
        match="differs from the network by .* times its rounding errors; train with",
    ):
        RecordedPotential(model).predict(prepared(model, cluster()))


def test_a_run_with_charges_is_refused_before_it_begins(tmp_path):
    config = small_config(trimers(tmp_path), compile=True)
    with pytest.raises(ValueError, match="training.compile is for models with energy: none"):
        fit(config)
    assert not config.training.output.exists()


def test_a_new_model_that_says_zero_is_compared_all_the_same(monkeypatch):
    """What forgets that the representation is trained is refused, and parameters are as they were afterwards."""
    model = model_of(cluster())
    with torch.no_grad():
        for parameter in model.energy_head.parameters():
            parameter.zero_()
    before = [parameter.detach().clone() for parameter in model.parameters()]

    def forgetful(network, _):
        representation = network.representation.named_parameters(prefix="representation")
        constants = {name: parameter.detach() for name, parameter in representation}
        return lambda *tensors: functional_call(network, constants, tensors)

    monkeypatch.setattr(recorded, "generated", forgetful)
    with pytest.raises(RuntimeError, match="differs from the network"):
        RecordedPotential(model).predict(prepared(model, cluster()))
    for parameter, value in zip(model.parameters(), before, strict=True):
        assert torch.equal(parameter, value)


@pytest.mark.parametrize("changes", [{"energy": "equilibrated"}, {"repulsion": "screened"}], ids=str)
def test_models_with_more_than_a_network_are_refused(changes):
    with pytest.raises(ValueError, match="training.compile is for models with energy: none and repulsion: none"):
        RecordedPotential(model_of(crystal(), **changes))


def test_a_run(tmp_path, monkeypatch):
    """The same losses to rounding, by slopes of displacements instead of positions."""
    monkeypatch.setattr(recorded, "generated", lambda network, tensors: network)
    settings = {"weights": {"energy": 10, "forces": 1}, "optimizer": "adamw", "epochs": 2}
    losses = []
    for name, compiled in (("plain", False), ("recorded", True)):
        config = small_config(trimers(tmp_path), name, compile=compiled, **settings)
        config = config.model_copy(update={"model": {**config.model, "energy": "none"}})
        losses.append([record["train_loss"] for record in fit(config).history])
    assert losses[1] == pytest.approx(losses[0], rel=1e-8)
