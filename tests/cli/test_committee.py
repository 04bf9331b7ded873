import json

import pytest
import torch
from typer.testing import CliRunner

from cace_qeq.checkpoint import save_model
from cace_qeq.cli import app
from cace_qeq.config import ModelConfig
from cace_qeq.model import CACEQEq
from small_runs import trimers

run = CliRunner().invoke


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two models, one larger, and frames."""
    folder = trimers(tmp_path_factory.mktemp("committee"))
    for name, channels in (("a", 4), ("b", 4), ("larger", 5)):
        with torch.random.fork_rng():
            torch.manual_seed(ord(name[0]))
            model = CACEQEq(ModelConfig(species=(47,), cutoff=5.0, channels=channels, layers=1)).double()
        torch.nn.init.normal_(model.energy_head.linear.weight, generator=torch.Generator().manual_seed(ord(name[0])))
        model.provenance["total_charges"] = [-1.0, 1.0]
        save_model(model, folder / f"{name}.safetensors")
    return folder


def test_joined_models_are_evaluated_with_their_spread(folder, tmp_path):
    both = tmp_path / "both.safetensors"
    joined = run(app, ["committee", str(both), str(folder / "a.safetensors"), str(folder / "b.safetensors")])
    assert joined.exit_code == 0, joined.output
    arguments = [str(both), str(folder / "valid.extxyz"), "--json", str(tmp_path / "errors.json")]
    result = run(app, ["evaluate", *arguments])
    assert result.exit_code == 0, result.output
    assert "Spread of its members" in result.output
    errors = json.loads((tmp_path / "errors.json").read_text())
    assert errors["n_structures"] == 4
    ratio = errors["forces_rmse_mev_per_angstrom"] / errors["spread_forces_rms_mev_per_angstrom"]
    assert errors["spread_forces_error_ratio"] == pytest.approx(ratio)
    assert errors["spread_stress_correlation"] is None
    again = run(app, ["committee", str(both), str(folder / "a.safetensors"), str(folder / "b.safetensors")])
    assert "exists already" in str(again.exception)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("a", "larger"), "differ in channels"),
        (("a",), "two members or more"),
        (("a", "b", "a"), "hold the same model"),
    ],
)
def test_what_does_not_make_a_committee(folder, tmp_path, names, message):
    members = [str(folder / f"{name}.safetensors") for name in names]
    result = run(app, ["committee", str(tmp_path / "out.safetensors"), *members])
    assert message in str(result.exception)
    assert not (tmp_path / "out.safetensors").exists()
