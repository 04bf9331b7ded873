"""Batches and modes that a model refuses."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms

from cace_qeq import CACEQEq, predict
from cace_qeq.structures import collate, to_batch
from small_models import crystal, untrained_model


@pytest.mark.parametrize(
    "lacking",
    [{"cutoff": 3.9}, {"largest_width": 0.0}, {"largest_width": 1.0}, {"accuracy": 1e-2}, {"mesh_accuracy": 1e-2}],
    ids=str,
)
def test_a_batch_made_for_less_than_the_model_needs_is_refused(lacking):
    model = untrained_model(crystal())
    batch = to_batch(crystal(), replace(model.geometry, **lacking), 0.0)
    with pytest.raises(
        ValueError, match=r"made for a cutoff of .* this model has a cutoff of 4 Å, charges as wide as 1\.66"
    ):
        predict(model, batch)


def test_a_batch_made_for_another_flow_of_charge_is_refused():
    free, bonds = untrained_model(crystal()), untrained_model(crystal(), charge_flow="bonds")
    for model, other in ((free, bonds), (bonds, free)):
        with pytest.raises(ValueError, match="charge that flows the other way"):
            predict(model, to_batch(crystal(), other.geometry, 0.0))


def test_without_charges_their_sums_do_not_matter():
    model = untrained_model(crystal(), energy="none")
    own, other = (
        to_batch(crystal(), geometry, 0.0) for geometry in (model.geometry, untrained_model(crystal()).geometry)
    )
    assert torch.equal(predict(model, own).forces, predict(model, other).forces)


@pytest.mark.parametrize("learn_widths", [False, True])
def test_a_batch_made_for_a_wider_model_gives_the_same(learn_widths):
    model = untrained_model(crystal(), learn_widths=learn_widths)
    own, wide = (
        predict(model, to_batch(crystal(), geometry, 0.0))
        for geometry in (model.frozen_geometry, replace(model.geometry, cutoff=5.0, largest_width=4.0))
    )
    assert torch.allclose(own.energy, wide.energy, rtol=0, atol=1e-7)
    assert torch.allclose(own.forces, wide.forces, rtol=0, atol=1e-7)


def test_inference_mode_is_refused_by_name():
    model = untrained_model(crystal())
    batch = to_batch(crystal(), model.geometry, 0.0)
    with torch.inference_mode():
        with pytest.raises(RuntimeError, match=r"torch\.inference_mode .* torch\.no_grad"):
            predict(model, batch)
        made_inside = to_batch(crystal(), model.geometry, 0.0)
    with pytest.raises(RuntimeError, match=r"torch\.inference_mode"):
        predict(model, made_inside)
    with torch.no_grad():
        assert predict(model, batch).forces.isfinite().all()


@pytest.mark.parametrize(("total", "expected"), [(0.0, [0.0, 0.0]), (1.0, [1.0, 0.0]), (-1.0, [0.0, -1.0])], ids=str)
def test_far_atoms_end_with_whole_charges_where_charge_flows_along_bonds(total, expected):
    model = untrained_model(crystal(), charge_flow="bonds")
    far = Atoms("NaCl", [[0, 0, 0], [0, 0, 50.0]])
    charges = predict(model, to_batch(far, model.geometry, total)).charges
    assert charges.tolist() == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("energy", ["none", "equilibrated"])
def test_half_precision_is_refused(energy):
    """Its energies are 42 meV off, and nothing would say so."""
    model = untrained_model(crystal(), energy=energy)
    batch = to_batch(crystal(), model.geometry, 0.0)
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(ValueError, match="half precision; use float32"):
        predict(model, batch)
    with pytest.raises(ValueError, match="half precision; use float32 or float64"):
        predict(model.half(), batch)


def test_what_is_no_batch_is_told_how_to_become_one():
    model = untrained_model(crystal())
    with pytest.raises(TypeError, match="the model was given Atoms, expected an AtomicBatch: to_batch"):
        model(crystal())
    with pytest.raises(TypeError, match="config is dict, expected a ModelConfig"):
        CACEQEq({"species": [1, 8], "cutoff": 4.0})
    with pytest.raises(TypeError, match="predict was given model.safetensors, expected a CACEQEq: load_model"):
        predict("model.safetensors", to_batch(crystal(), model.geometry, 0.0))
    wrapped = torch.nn.DataParallel(model)
    with pytest.raises(TypeError, match="predict was given DataParallel, expected a CACEQEq: .* as .module"):
        predict(wrapped, to_batch(crystal(), model.geometry, 0.0))
    with pytest.raises(TypeError, match="predict was given Atoms, expected an AtomicBatch: to_batch"):
        predict(model, crystal())
    with pytest.raises(TypeError, match="expected GeometrySettings: a model's .geometry"):
        to_batch(crystal(), model, 0.0)
    for charge in (None, "1", np.array([1.0])):
        with pytest.raises(TypeError, match="total_charge is .*, expected a number of e"):
            to_batch(crystal(), model.geometry, charge)
    with pytest.raises(TypeError, match="a list was given for a structure, expected ase.Atoms"):
        to_batch([crystal()], model.geometry, 0.0)


def test_batches_may_come_one_by_one():
    model = untrained_model(crystal())
    many = collate(to_batch(crystal(), model.geometry, 0.0) for _ in range(2))
    assert many.n_structures == 2
