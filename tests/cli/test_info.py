"""`cace-qeq info`, as it is typed."""

import pytest
from typer.testing import CliRunner

from cace_qeq.checkpoint import load_model, save_model
from cace_qeq.cli import app
from cace_qeq.committee import Committee, save_committee
from cace_qeq.training import fit
from small_models import trained_model
from small_runs import small_config, trimers


def told(path) -> dict[str, str]:
    result = CliRunner(env={"COLUMNS": "400"}).invoke(app, ["info", str(path)])
    assert result.exit_code == 0, result.output
    cells = [[cell.strip() for cell in line.split("│")] for line in result.output.splitlines() if line.count("│") == 3]
    return {row[1]: row[2] for row in cells}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return fit(small_config(trimers(tmp_path_factory.mktemp("info")), seed=3)).folder.model


def test_a_trained_model(model):
    found, trained = told(model), load_model(model)
    assert found["elements"] == "Ag"
    assert found["cutoff"].startswith(f"{trained.config.cutoff:g} Å")
    assert found["energy"] == "equilibrated"
    assert f"channels: {trained.config.channels}" in found["settings"]
    assert "background" not in found["settings"]
    assert found["parameters"] == str(sum(parameter.numel() for parameter in trained.parameters()))
    assert found["total charges seen"] == "-1 e, +1 e"
    assert found["frames"] == "12 train, 4 valid, 0 test"
    assert found["seed"] == "3"
    assert "torch" in found["versions"]


def test_a_committee_and_a_model_from_elsewhere(model, tmp_path):
    save_committee(Committee([load_model(model), load_model(model)]), tmp_path / "both.safetensors")
    found = told(tmp_path / "both.safetensors")
    assert (found["members"], found["seed"]) == ("2", "3, 3")
    save_model(trained_model(), tmp_path / "made.safetensors")
    assert "seed" not in told(tmp_path / "made.safetensors")
