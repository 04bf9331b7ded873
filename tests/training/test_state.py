import json

import pytest
import torch
from torch import nn

from cace_qeq.checkpoint import write
from cace_qeq.files import write_atomically
from cace_qeq.training.config import TrainingConfig
from cace_qeq.training.optimizer import optimizer_of
from cace_qeq.training.state import FORMAT, Progress, load_state, progress_of, save_state


def network(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(2, 30), nn.BatchNorm1d(30), nn.Linear(30, 1))


def trained(module, optimizer, steps):
    data = torch.linspace(0, 1, 8).view(4, 2)
    for _ in range(steps):
        optimizer.zero_grad()
        module(data).square().sum().backward()
        optimizer.step()


@pytest.mark.parametrize("name", ["soap", "adamw"])
def test_a_restored_state_continues_bit_for_bit(tmp_path, name):
    module, other = network(0), network(1)
    config = TrainingConfig(output=tmp_path, optimizer=name)
    optimizer, other_optimizer = (optimizer_of(config, m.named_parameters()) for m in (module, other))
    trained(module, optimizer, 15)  # soap has turned its axes once
    history = [{"epoch": 1, "stage": "joint", "train_loss": 0.1 + 0.2}]
    saved = Progress(epoch=3, best=0.1, history=history)
    save_state(tmp_path / "run.safetensors", {"model": module}, optimizer, saved)
    assert progress_of(tmp_path / "run.safetensors") == saved
    load_state(tmp_path / "run.safetensors", {"model": other}, other_optimizer)
    trained(module, optimizer, 5)
    trained(other, other_optimizer, 5)
    for one, two in zip(module.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(one, two)


def test_a_state_before_the_first_step(tmp_path):
    module = network(0)
    optimizer = torch.optim.AdamW(module.parameters())
    save_state(tmp_path / "run.safetensors", {"model": module}, optimizer, Progress())
    load_state(tmp_path / "run.safetensors", {"model": module}, optimizer)
    assert progress_of(tmp_path / "run.safetensors").best == float("inf")


@pytest.mark.parametrize("change", ["parameters", "groups"])
def test_a_state_of_another_version_is_named(tmp_path, change):
    module = network(0)
    save_state(tmp_path / "run.safetensors", {"model": module}, torch.optim.AdamW(module.parameters()), Progress())
    other = nn.Sequential(nn.Linear(2, 31)) if change == "parameters" else module
    optimizer = torch.optim.AdamW([{"params": [p]} for p in other.parameters()])
    with pytest.raises(ValueError, match=r"run.safetensors is of another model or version .* --overwrite"):
        load_state(tmp_path / "run.safetensors", {"model": other}, optimizer)


def test_how_far_a_run_of_another_version_came(tmp_path):
    told = json.dumps({"epoch": 7, "history": [{"epoch": 7}], "finished": False})
    write(tmp_path / "run.safetensors", {"format": "another", "progress": told}, {"tensor": torch.zeros(1)})
    assert progress_of(tmp_path / "run.safetensors") == Progress(epoch=7, history=[{"epoch": 7}])
    module = network(0)
    with pytest.raises(ValueError, match="is not a cace_qeq training state"):
        load_state(tmp_path / "run.safetensors", {"model": module}, torch.optim.AdamW(module.parameters()))


@pytest.mark.parametrize("optimizer", ["[]", "{}", '{"state": 3}', '{"state": {"0": {"tensor": "x"}}}', "{"])
def test_a_state_with_other_contents_is_named(tmp_path, optimizer):
    metadata = {"format": FORMAT, "progress": "3", "optimizer": optimizer}
    write(tmp_path / "run.safetensors", metadata, {"tensor": torch.zeros(1)})
    module = network(0)
    with pytest.raises(ValueError, match="run.safetensors is of another model or version"):
        load_state(tmp_path / "run.safetensors", {"model": module}, torch.optim.AdamW(module.parameters()))
    with pytest.raises(ValueError, match="run.safetensors does not say how far"):
        progress_of(tmp_path / "run.safetensors")


def test_a_damaged_state_is_named(tmp_path):
    module = network(0)
    write_atomically(tmp_path / "run.safetensors", b"half a file")
    with pytest.raises(ValueError, match="run.safetensors"):
        load_state(tmp_path / "run.safetensors", {"model": module}, torch.optim.AdamW(module.parameters()))
