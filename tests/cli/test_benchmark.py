"""A comparison by command: a training that fails beside one of half a second, and what is made of it."""

import json
import sys
from types import SimpleNamespace

import pytest
import torch
from typer.testing import CliRunner

from cace_qeq.benchmark import SETS
from cace_qeq.cli import app, main

run = CliRunner().invoke
NAME = "ag3_cace_qeq-XS_0.5s_8frames_seed2"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    (out / "states").mkdir()
    torch.save({"conditions": "of another day"}, out / "states" / "ag3_cace_qeq-S_0.5s_8frames_seed2.pt")
    arguments = ["benchmark", "run", "ag3", "--models", "cace_qeq S,cace_qeq XS", "--seconds", "0.5"]
    arguments += ["--frames", "8", "--seeds", "2", "--out", str(out)]
    return SimpleNamespace(out=out, arguments=arguments, first=run(app, arguments))


def test_a_failure_is_told_and_the_rest_is_run(trained):
    assert trained.first.exit_code == 1, trained.first.output
    assert "ag3, cace_qeq S, 8 frames, seed 2: cace_qeq: ValueError: " in trained.first.output
    assert "is of a training under other conditions; delete it to begin anew" in trained.first.output
    assert "1 of 2 trainings are finished" in trained.first.output


def test_a_result_says_how_it_came_about(trained):
    (path,) = trained.out.glob("*.json")
    found = json.loads(path.read_text())
    assert path.stem == NAME
    assert (found["run"]["seed"], found["run"]["cutoff"], found["held_out"]) == (2, 5.0, "test")
    assert found["machine"].keys() >= {"processor", "versions", "commit"}
    assert found["versions_of_code"]["torch"]
    result = found["result"]
    assert result["frames"] == 8
    assert 0.5 <= result["training_seconds"] == result["history"][-1]["seconds"]
    assert result["errors"]["forces_mae_mev_per_angstrom"] < result["errors"]["forces_rmse_mev_per_angstrom"]


def test_what_is_finished_is_not_run_again(trained):
    path = trained.out / f"{NAME}.json"
    before = path.stat().st_mtime_ns
    again = [argument.replace("cace_qeq S,", "") for argument in trained.arguments]
    result = run(app, again)
    assert result.exit_code == 0
    assert "1 of 1 trainings are finished" in result.output
    assert path.stat().st_mtime_ns == before


def test_report_of_a_result(trained):
    result = run(app, ["benchmark", "report", "--out", str(trained.out)])
    assert result.exit_code == 0, result.output
    table = (trained.out / "compare.md").read_text().splitlines()
    forces = json.loads((trained.out / f"{NAME}.json").read_text())["result"]["errors"]["forces_rmse_mev_per_angstrom"]
    assert table[2].startswith("| ag3 | 8 | cace_qeq XS |")
    assert f"| {forces:.3g} |" in table[2]
    assert f"{forces:.3g}" in result.output
    assert (trained.out / "figures" / "ag3.png").read_bytes().startswith(b"\x89PNG")


def test_sets_are_listed_with_what_is_there(tmp_path):
    (tmp_path / "acac").mkdir()
    for name in ("train", "val", "test_300K"):
        (tmp_path / "acac" / f"{name}.extxyz").write_text("not the frames")
    result = run(app, ["benchmark", "datasets", "--data", str(tmp_path)])
    assert result.exit_code == 0, result.output
    states = dict(line.split("│")[1:3] for line in result.output.splitlines() if line.startswith("│"))
    states = {name.strip(): state.strip() for name, state in states.items()}
    assert states.keys() >= {one.name for one in SETS}
    assert (states["acac"], states["bpa3"], states["ag3"]) == ("another file", "missing", "there")
    assert "github.com/davkovacs/BOTNet-datasets" in result.output


WRONG = {
    "two budgets": (["run", "ag3", "--seconds", "5", "--epochs", "2"], "--seconds or --epochs, not both"),
    "unknown set": (["run", "water"], "there is no set 'water'"),
    "set not there": (["run", "acac", "--models", "cace_qeq S"], "github.com/davkovacs/BOTNet-datasets"),
    "no model": (["run", "ag3", "--models", "cace_qeq S,"], "expected codes and sizes with commas between"),
    "unknown size": (["run", "ag3", "--models", "cace_qeq XXL"], "expected cace_qeq and one of XS, S, M, L, L4"),
    "unknown code": (["run", "ag3", "--models", "cece S"], "'cece' is none of the codes cace_qeq, nequip, mace"),
    "unknown peer": (["run", "ag3", "--peer-python", "nequipp=python"], "there is no peer 'nequipp'"),
    "peer without path": (["run", "ag3", "--peer-python", "nequip"], "expected PEER=PATH"),
    "interpreter not there": (["run", "ag3", "--peer-python", "mace=/no/python"], "/no/python does not start"),
    "seeds": (["run", "ag3", "--seeds", "1;2"], "--seeds 1;2: expected whole numbers"),
    "rate": (["run", "ag3", "--learning-rate", "nequip"], "expected CODE=NUMBER"),
    "rate of another": (["run", "ag3", "--models", "cace_qeq S", "--learning-rate", "mace=1"], "'mace' is none of"),
    "no rate": (["run", "ag3", "--learning-rate", "cace_qeq=0"], "cace_qeq=0: expected a positive number"),
    "no results": (["report"], "begin with `cace-qeq benchmark run`"),
    "unknown environment": (["environments", "peers", "nequipp"], "there is no peer 'nequipp'"),
}


@pytest.mark.parametrize("case", WRONG, ids=str)
def test_wrong_input_is_one_message(case, monkeypatch, capsys, tmp_path):
    arguments, message = WRONG[case]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["cace-qeq", "benchmark", *arguments])
    with pytest.raises(SystemExit) as ending:
        main()
    error = capsys.readouterr().err
    assert ending.value.code == 1
    assert error.startswith("error: ")
    assert message in error
