import copy
import json
import math

import pytest
import torch
from typer.testing import CliRunner

from cace_qeq.checkpoint import save_model
from cace_qeq.cli import app
from cace_qeq.committee import Committee, save_committee
from sick_models import healthy
from small_models import cluster, crystal, untrained_model

run = CliRunner().invoke


@pytest.fixture
def model(tmp_path):
    save_model(healthy(), tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def test_a_healthy_model_on_structures_of_its_elements(model, tmp_path):
    result = run(app, ["doctor", str(model), "--json", str(tmp_path / "out.json")])
    assert result.exit_code == 0, result.output
    written = json.loads((tmp_path / "out.json").read_text())
    assert list(written) == ["molecule", "charged molecule", "skewed crystal", "skewed slab"]
    checks = [check for checks in written.values() for check in checks]
    assert all(check["passed"] and check["value"] <= check["limit"] for check in checks)
    assert f"{len(checks)} of {len(checks)} checks passed" in result.output


def test_a_failure_is_exit_code_one(tmp_path):
    path, out = tmp_path / "coarse.safetensors", tmp_path / "out.json"
    save_model(untrained_model(crystal(), ewald_accuracy=1e-3), path)
    crystal().write(tmp_path / "salt.extxyz")
    result = run(app, ["doctor", str(path), str(tmp_path / "salt.extxyz"), "--json", str(out)])
    assert result.exit_code == 1
    assert "FAILED" in result.output
    (checks,) = json.loads(out.read_text()).values()
    assert "Ewald error estimate" in [check["name"] for check in checks if not check["passed"]]


def test_a_frame_that_is_not_there(model, tmp_path):
    cluster().write(tmp_path / "one.extxyz")
    result = run(app, ["doctor", str(model), str(tmp_path / "one.extxyz"), "--frame", "3"])
    assert "there is no frame 3" in str(result.exception)


def test_a_charge_without_a_structure_is_refused(model):
    result = run(app, ["doctor", str(model), "--charge", "1"])
    assert "are those of a STRUCTURE" in str(result.exception)


def test_a_charge_that_changes_nothing_is_refused(tmp_path):
    save_model(untrained_model(cluster(), energy="none"), tmp_path / "bare.safetensors")
    cluster().write(tmp_path / "one.extxyz")
    arguments = [str(tmp_path / name) for name in ("bare.safetensors", "one.extxyz")]
    result = run(app, ["doctor", *arguments, "--charge", "1"])
    assert "has no charges, so that it changes nothing" in str(result.exception)


def test_of_a_committee_every_member(tmp_path):
    cluster().write(tmp_path / "one.extxyz")
    save_committee(Committee([healthy(), copy.deepcopy(healthy())]), tmp_path / "both.safetensors")
    arguments = [str(tmp_path / name) for name in ("both.safetensors", "one.extxyz")]
    result = run(app, ["doctor", *arguments, "--json", str(tmp_path / "out.json")])
    assert result.exit_code == 0, result.output
    first, second = json.loads((tmp_path / "out.json").read_text()).items()
    assert [first[0], second[0]] == [f"{arguments[1]}, member {n}" for n in (1, 2)]
    assert first[1] == second[1]


def test_a_model_that_gives_no_numbers_leaves_a_readable_file(tmp_path):
    sick = copy.deepcopy(healthy())
    with torch.no_grad():
        next(sick.energy_head.parameters()).fill_(math.nan)
    save_model(sick, tmp_path / "sick.safetensors")
    cluster().write(tmp_path / "one.extxyz")
    arguments = [str(tmp_path / name) for name in ("sick.safetensors", "one.extxyz")]
    result = run(app, ["doctor", *arguments, "--json", str(tmp_path / "out.json")])
    assert isinstance(result.exception, SystemExit)
    (checks,) = json.loads((tmp_path / "out.json").read_text()).values()
    assert any(check["value"] is None and not check["passed"] for check in checks)
