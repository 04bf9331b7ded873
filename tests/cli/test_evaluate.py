import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.io import read, write
from typer.testing import CliRunner

from cace_qeq.calculator import CACEQEqCalculator
from cace_qeq.checkpoint import load_model, save_model
from cace_qeq.cli import app
from cace_qeq.config import ModelConfig
from cace_qeq.electrostatics import ConvergenceError
from cace_qeq.model import CACEQEq
from cace_qeq.prediction import predict
from cace_qeq.structures import LabelKeys, collate, to_batch
from small_runs import trimers

run = CliRunner().invoke
PROPERTIES = {
    "energy": "mev_per_atom",
    "forces": "mev_per_angstrom",
    "stress": "mev_per_angstrom3",
    "charges": "me",
    "dipole": "e_angstrom",
    "born_charges": "me",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model and frames."""
    folder = trimers(tmp_path_factory.mktemp("evaluate"))
    model = CACEQEq(ModelConfig(species=(47,), cutoff=5.0, channels=4, layers=1)).double()
    model.provenance["total_charges"] = [-1.0, 1.0]
    save_model(model, folder / "model.safetensors")
    return folder


def evaluate(folder, *arguments):
    return run(app, ["evaluate", str(folder / "model.safetensors"), *map(str, arguments)])


def test_a_terminal_without_an_angstrom_shows_something_else(folder):
    command = [sys.executable, "-m", "cace_qeq", "evaluate", folder / "model.safetensors", folder / "valid.extxyz"]
    told = subprocess.run(command, capture_output=True, env=os.environ | {"PYTHONIOENCODING": "ascii"}, check=True)
    assert b"meV/?" in told.stdout


def test_results_go_down_a_pipe(folder):
    command = [sys.executable, "-m", "cace_qeq", "evaluate", folder / "model.safetensors", folder / "valid.extxyz"]
    told = subprocess.run([*command, "--json", "/dev/stdout"], capture_output=True, check=True)
    assert json.loads(told.stdout[: told.stdout.index(b"}") + 1])["n_structures"] == 4


def test_the_size_of_batches_changes_nothing(folder, tmp_path):
    for atoms in (1, 7):
        name = tmp_path / f"{atoms}.json"
        assert evaluate(folder, folder / "valid.extxyz", "--json", name, "--batch-atoms", atoms).exit_code == 0
    one, seven = (json.loads((tmp_path / f"{atoms}.json").read_text()) for atoms in (1, 7))
    known = {name: value for name, value in seven.items() if value is not None}
    assert {name: one[name] for name in known} == pytest.approx(known, rel=1e-9)


def test_errors_of_groups_of_frames(folder, tmp_path):
    frames = read(folder / "valid.extxyz", ":")
    for atoms in frames[1:]:
        atoms.info["config_type"] = "[bent]" if atoms.info["total_charge"] > 0 else "straight"
    write(tmp_path / "grouped.extxyz", frames)
    target = tmp_path / "errors.json"
    result = evaluate(folder, tmp_path / "grouped.extxyz", "--by", "config_type", "--json", target)
    assert result.exit_code == 0, result.output
    assert "[bent]" in result.output
    errors = json.loads(target.read_text())
    groups = errors["by"]["config_type"]
    assert sum(group["n_structures"] for group in groups.values()) == errors["n_structures"] == len(frames)
    assert groups["–"]["n_structures"] == 1
    total = sum(group["n_atoms"] * group["forces_rmse_mev_per_angstrom"] ** 2 for group in groups.values())
    assert total / errors["n_atoms"] == pytest.approx(errors["forces_rmse_mev_per_angstrom"] ** 2)
    refused = evaluate(folder, folder / "valid.extxyz", "--by", "config_typ")
    assert "no frame has this key" in str(refused.exception)


def test_the_solver_is_the_one_that_is_asked_for(folder, tmp_path):
    errors = {}
    for solver in ("auto", "mesh,tolerance=1e-9,iterations=99"):
        target = tmp_path / f"{len(errors)}.json"
        assert evaluate(folder, folder / "valid.extxyz", "--json", target, "--solver", solver).exit_code == 0
        errors[solver] = json.loads(target.read_text())["charges_rmse_me"]
    first, second = errors.values()
    assert second == pytest.approx(first, rel=1e-6)
    hasty = evaluate(folder, folder / "valid.extxyz", "--solver", "mesh, iterations=0")
    assert isinstance(hasty.exception, ConvergenceError)


def test_errors_by_hand(folder, tmp_path):
    result = evaluate(folder, folder / "valid.extxyz", "--json", tmp_path / "errors.json")
    assert result.exit_code == 0, result.output
    errors = json.loads((tmp_path / "errors.json").read_text())
    names = {f"{name}_{kind}_{unit}" for name, unit in PROPERTIES.items() for kind in ("rmse", "mae")}
    names |= {f"{name}_percent_of_spread" for name in PROPERTIES}
    assert set(errors) == names | {"n_structures", "n_atoms"}
    assert 0 < errors["forces_percent_of_spread"] < 1000
    assert (errors["n_structures"], errors["n_atoms"]) == (4, 12)
    assert errors["stress_rmse_mev_per_angstrom3"] is None
    frames = read(folder / "valid.extxyz", ":")
    model = load_model(folder / "model.safetensors")
    batch = collate([to_batch(frame, model.geometry, frame.info["total_charge"]) for frame in frames])
    prediction = predict(model, batch)
    energies = torch.tensor([frame.info["REF_energy"] for frame in frames])
    charges = torch.cat([torch.tensor(frame.arrays["REF_charges"]) for frame in frames])
    per_atom = (prediction.energy - energies) / 3
    assert errors["energy_rmse_mev_per_atom"] == pytest.approx(1000 * float(per_atom.square().mean().sqrt()))
    assert errors["charges_mae_me"] == pytest.approx(1000 * float((prediction.charges - charges).abs().mean()))


def test_electrodes_decide_charges_here_as_in_ase(tmp_path):
    """Labels are the model's own, so that nothing is wrong with them."""
    model = CACEQEq(ModelConfig(species=(47,), cutoff=5.0, channels=4, layers=1)).double()
    save_model(model, tmp_path / "model.safetensors")
    frames = read(trimers(tmp_path) / "valid.extxyz", ":")
    for atoms in frames:
        del atoms.info["total_charge"]
        atoms.arrays["electrode"], atoms.info["electrode_potentials"] = np.zeros(3, dtype=int), [-5.0]
        atoms.calc = CACEQEqCalculator(model)
        atoms.info["REF_energy"] = atoms.get_potential_energy()
        atoms.arrays["REF_forces"], atoms.arrays["REF_charges"] = atoms.get_forces(), atoms.get_charges()
        assert abs(atoms.get_charges().sum()) > 0.1
        atoms.calc = None
    write(tmp_path / "electrodes.extxyz", frames)
    result = evaluate(tmp_path, tmp_path / "electrodes.extxyz", "--json", tmp_path / "errors.json")
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "errors.json").read_text())["energy_rmse_mev_per_atom"] < 1e-3


def test_plots_and_several_files(folder, tmp_path):
    result = evaluate(folder, folder / "valid.extxyz", folder / "train.extxyz", "--plots", tmp_path / "plots")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "plots" / "parity.png").exists()
    assert "16 structures, 48 atoms" in result.output


def test_keys_of_another_name(folder, tmp_path):
    frames = read(folder / "valid.extxyz", ":")
    for frame in frames:
        frame.info["E0"] = frame.info.pop("REF_energy")
    write(tmp_path / "named.extxyz", frames)
    plain, named = tmp_path / "plain.json", tmp_path / "named.json"
    evaluate(folder, folder / "valid.extxyz", "--json", plain)
    evaluate(folder, tmp_path / "named.extxyz", "--json", named, "--keys", "energy=E0")
    assert json.loads(named.read_text()) == json.loads(plain.read_text())
    mistyped = evaluate(folder, tmp_path / "named.extxyz", "--keys", "enrgy=E0")
    assert "did you mean 'energy'" in str(mistyped.exception)


def test_a_missing_total_charge_is_an_error_unless_given(folder, tmp_path):
    frames = read(folder / "valid.extxyz", ":")
    frames = [frame for frame in frames if frame.info.pop("total_charge") == 1]
    write(tmp_path / "silent.extxyz", frames)
    assert "frame 0" in str(evaluate(folder, tmp_path / "silent.extxyz").exception)
    given = evaluate(folder, tmp_path / "silent.extxyz", "--default-total-charge", "1")
    assert given.exit_code == 0, given.output


def test_label_keys_are_those_of_the_frames():
    assert set(LabelKeys.__dataclass_fields__) == {*PROPERTIES, "total_charge"}


@pytest.mark.parametrize("content", [b"", b"not a model"])
def test_a_damaged_model_is_named(tmp_path, folder, content):
    (tmp_path / "model.safetensors").write_bytes(content)
    result = run(app, ["evaluate", str(tmp_path / "model.safetensors"), str(folder / "valid.extxyz")])
    assert "model.safetensors" in str(result.exception)
    assert isinstance(result.exception, ValueError)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("energy=foo", "no frame has 'foo' as energy"),
        ("energy=", "names no key"),
        ("energy", "names no key"),
        ("energy=a,energy=b", "energy stands twice"),
    ],
)
def test_keys_that_lead_nowhere_are_refused(folder, keys, message):
    assert message in str(evaluate(folder, folder / "valid.extxyz", "--keys", keys).exception)


def test_predictions_that_are_not_finite_are_no_missing_labels(folder, tmp_path):
    model = load_model(folder / "model.safetensors")
    with torch.no_grad():
        model.energy_head.linear.weight.fill_(torch.nan)
    save_model(model, tmp_path / "broken.safetensors")
    result = run(app, ["evaluate", str(tmp_path / "broken.safetensors"), str(folder / "valid.extxyz")])
    assert isinstance(result.exception, FloatingPointError)
    assert "4 of 4 predicted values of energy are not finite" in str(result.exception)


@pytest.mark.parametrize("device", ["gpu", "cuda:99"])
def test_a_device_that_is_not_there_is_wrong_input(folder, device):
    error = evaluate(folder, folder / "valid.extxyz", "--device", device).exception
    assert isinstance(error, ValueError)
    assert f"device '{device}' cannot be used" in str(error)


def test_frames_without_labels_are_refused(folder, tmp_path):
    write(tmp_path / "bare.extxyz", Atoms("Ag2", [[0, 0, 0], [0, 0, 2.6]], info={"total_charge": 1}))
    result = evaluate(folder, tmp_path / "bare.extxyz", "--plots", tmp_path / "plots")
    assert "no frame has a label of any property" in str(result.exception)


def test_a_table_that_cannot_be_written_is_refused_before_the_work(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("cace_qeq.cli.evaluate.evaluated", lambda *_: pytest.fail("evaluated in vain"))
    result = evaluate(folder, folder / "valid.extxyz", "--json", tmp_path)
    assert isinstance(result.exception, IsADirectoryError)


def test_blanks_between_keys_and_brackets_in_paths(folder, tmp_path):
    (tmp_path / "m[old]").mkdir()
    model = tmp_path / "m[old]" / "model.safetensors"
    model.write_bytes((folder / "model.safetensors").read_bytes())
    keys = "energy=REF_energy, forces=REF_forces"
    result = run(app, ["evaluate", str(model), str(folder / "valid.extxyz"), "--keys", keys])
    assert result.exit_code == 0, result.output
    assert "m[old]" in "".join(result.output.split())  # titles are broken where a table is narrow


@pytest.mark.parametrize("name", ["model.safetensors", "test.extxyz"])
def test_inputs_are_not_replaced(folder, tmp_path, name):
    for file in ("model.safetensors", "test.extxyz"):
        shutil.copy(folder / (file if file == "model.safetensors" else "valid.extxyz"), tmp_path / file)
    before = (tmp_path / name).read_bytes()
    result = evaluate(tmp_path, tmp_path / "test.extxyz", "--json", tmp_path / name)
    assert isinstance(result.exception, ValueError) and "is an input" in str(result.exception)
    assert (tmp_path / name).read_bytes() == before
