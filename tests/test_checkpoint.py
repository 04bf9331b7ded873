"""The model file: everything comes back, nothing half-written or foreign gets in."""

import copy
import json

import pytest
import torch
from safetensors.torch import save_file

from cace_qeq.checkpoint import CheckpointError, fingerprint, load_model, read, save_model
from cace_qeq.committee import Committee, load_potential
from cace_qeq.config import ModelConfig
from cace_qeq.model import CACEQEq


@pytest.fixture
def model():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = CACEQEq(ModelConfig(species=[11, 17], cutoff=4.0, channels=4, learn_widths=True))
    model.set_reference_energies(torch.tensor([-4410.123456789, -12524.987654321], dtype=torch.float64))
    model.provenance = {"total_charges": [0.0, 1.0], "seed": 3}
    return model


def test_everything_comes_back(model, tmp_path):
    save_model(model, tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors")
    assert loaded.config == model.config
    assert loaded.provenance == model.provenance
    assert loaded.dtype == torch.float32
    assert not loaded.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name


def test_loading_leaves_random_numbers_as_they_are(model, tmp_path):
    save_model(model, tmp_path / "model.safetensors")
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    load_model(tmp_path / "model.safetensors")
    assert torch.equal(torch.rand(3), expected)


def test_precision_can_be_chosen_and_energies_stay_double(model, tmp_path):
    save_model(model, tmp_path / "model.safetensors")
    double = load_model(tmp_path / "model.safetensors", dtype=torch.float64)
    assert double.dtype == torch.float64
    assert torch.equal(double.reference_energies, model.reference_energies)


@pytest.mark.parametrize("load", [load_model, load_potential])
@pytest.mark.parametrize("dtype", [torch.float16, torch.int64])
def test_other_precisions_are_refused(model, tmp_path, load, dtype):
    save_model(model, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"expected torch\.float32 or torch\.float64"):
        load(tmp_path / "model.safetensors", dtype=dtype)


def test_nothing_else_is_left_in_the_folder(model, tmp_path):
    save_model(model, tmp_path / "model.safetensors")
    save_model(model, tmp_path / "model.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.safetensors"):
        load_model(tmp_path / "nothing.safetensors")


def test_a_folder_with_a_model_is_not_the_model(model, tmp_path):
    save_model(model, tmp_path / "model.safetensors")
    with pytest.raises(FileNotFoundError, match=r"a folder; is .*model\.safetensors meant\?"):
        load_model(tmp_path)


@pytest.mark.parametrize("keep", [0, 4, 400, -10])
def test_damaged_file(model, tmp_path, keep):
    path = tmp_path / "model.safetensors"
    save_model(model, path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match="damaged"):
        load_model(path)


def test_one_bit_is_noticed(model, tmp_path):
    """A weight that is another number would predict, and nobody would know."""
    path = tmp_path / "model.safetensors"
    save_model(model, path)
    whole = path.read_bytes()
    start = 8 + int.from_bytes(whole[:8], "little")
    for place in (start + 3, (start + len(whole)) // 2, len(whole) - 1, whole.index(b"total_charges")):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(CheckpointError, match="model.safetensors is damaged: it does not hold what was written"):
            load_model(path)
    path.write_bytes(whole)
    load_model(path)


def test_foreign_file(tmp_path):
    save_file({"weight": torch.ones(2)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="not a cace_qeq model"):
        load_model(tmp_path / "other.safetensors")


def test_other_version(tmp_path):
    save_file({"weight": torch.ones(2)}, tmp_path / "new.safetensors", {"format": "cace_qeq model", "version": "99"})
    with pytest.raises(CheckpointError, match="version 99"):
        load_model(tmp_path / "new.safetensors")


def configured(**changes):
    return lambda text: json.dumps(json.loads(text) | changes)


EDITS = {
    "other channels": ("config", configured(channels=5)),
    "inexact quadrature": ("config", configured(message_rank=1, quadrature_degree=2)),
    "no provenance": ("provenance", lambda _: "null"),
    "broken provenance": ("provenance", lambda _: "{"),
    "other units": ("units", lambda _: "hartree, bohr, e"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_what_does_not_fit_is_told(edit, model, tmp_path):
    save_model(model, tmp_path / "model.safetensors")
    metadata, tensors = read(tmp_path / "model.safetensors")
    key, change = EDITS[edit]
    metadata[key] = change(metadata[key])
    save_file(tensors, tmp_path / "edited.safetensors", metadata)
    with pytest.raises(CheckpointError, match=r"edited.safetensors does not hold together"):
        load_model(tmp_path / "edited.safetensors")


def test_tensors_of_another_kind_are_told(model, tmp_path):
    save_model(model, tmp_path / "model.safetensors")
    metadata, tensors = read(tmp_path / "model.safetensors")
    tensors = {name: tensor.to(torch.int64) for name, tensor in tensors.items()}
    save_file(tensors, tmp_path / "whole.safetensors", metadata)
    with pytest.raises(CheckpointError, match="does not hold together"):
        load_model(tmp_path / "whole.safetensors")


@pytest.mark.parametrize("name", ["reference_energies", "energy_scale", "representation.layers.0.shift"])
def test_models_that_differ_in_more_than_parameters_are_told_apart(model, name):
    before = fingerprint(model)
    assert fingerprint(copy.deepcopy(model).double()) == before
    model.get_buffer(name).add_(0.5)
    assert fingerprint(model) != before


def test_models_of_equal_weights_and_another_cutoff_are_told_apart(model):
    wider = CACEQEq(model.config.model_copy(update={"cutoff": model.config.cutoff + 1}))
    wider.load_state_dict(model.state_dict())
    assert fingerprint(wider) != fingerprint(model)


def test_a_committee_is_not_saved_as_a_model(model, tmp_path):
    with pytest.raises(TypeError, match="given a Committee, expected a CACEQEq; see save_committee"):
        save_model(Committee([model, copy.deepcopy(model)]), tmp_path / "model.safetensors")
    assert not (tmp_path / "model.safetensors").exists()
