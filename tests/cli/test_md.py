"""`cace-qeq md`, as it is typed."""

import copy
import csv

import numpy as np
import pytest
from ase.io import read, write
from typer.testing import CliRunner

from cace_qeq.checkpoint import save_model
from cace_qeq.cli import app
from cace_qeq.committee import Committee, save_committee
from small_models import cluster, crystal, trained_model, untrained_model


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working folder: a model, two structures."""
    monkeypatch.chdir(tmp_path)
    save_model(trained_model(), "model.safetensors")
    write("cluster.xyz", cluster(), format="extxyz")
    write("crystal.xyz", crystal(), format="extxyz")
    return tmp_path


def md(*arguments: str):
    return CliRunner().invoke(app, ["md", "model.safetensors", *arguments])


def test_energy_drift_is_reported_and_files_written(folder):
    result = md("cluster.xyz", "--steps", "20", "--timestep", "1", "--interval", "5")
    assert result.exit_code == 0, result.output
    assert "Cl4Na4 (8 atoms, total charge 0 e), NVE, 20 steps of 1 fs" in result.output
    assert "energy drift" in result.output
    assert len(read("md.extxyz", ":")) == 5
    assert len((folder / "md.csv").read_text().splitlines()) == 6


def test_pressure_and_length_in_picoseconds(folder):
    result = md("crystal.xyz", "--ensemble", "npt", "--picoseconds", "0.01", "--timestep", "2", "--pressure", "50")
    assert result.exit_code == 0, result.output
    assert "NPT at 300 K and 50 bar, 5 steps" in result.output
    assert "energy drift" not in result.output
    assert "volume" in result.output


def test_a_charge_is_refused_that_changes_nothing(folder):
    save_model(untrained_model(cluster(), energy="none"), "model.safetensors")
    result = md("cluster.xyz", "--steps", "1", "--charge", "1")
    assert "--charge 1: model.safetensors has no charges" in str(result.exception)
    assert not (folder / "md.extxyz").exists()


def test_the_charge_option_wins(folder):
    atoms = cluster()
    atoms.info["total_charge"] = 0
    write("cluster.xyz", atoms, format="extxyz")
    result = md("cluster.xyz", "--steps", "1", "--charge", "1")
    assert "total charge +1 e" in result.output
    last = read("md.extxyz")
    assert last.get_charges().sum() == pytest.approx(1, abs=1e-8)
    assert last.info["charge"] == 1
    assert "total_charge" not in last.info


def test_resumed(folder):
    options = ["cluster.xyz", "--ensemble", "nvt", "--timestep", "1", "--out", "a/md.extxyz", "--interval", "4"]
    assert md(*options, "--steps", "8").exit_code == 0
    result = md(*options, "--steps", "20", "--resume")
    assert result.exit_code == 0, result.output
    assert "resumed from a/md.extxyz" in result.output
    whole = md(*options[:-3], "whole.extxyz", "--interval", "4", "--steps", "20")
    assert whole.exit_code == 0, whole.output
    np.testing.assert_allclose(read("a/md.extxyz").positions, read("whole.extxyz").positions, atol=1e-9)


def test_frames_are_chosen(folder):
    moved = cluster()
    moved.positions += 1.0
    write("cluster.xyz", [cluster(), moved], format="extxyz")
    assert md("cluster.xyz", "--steps", "0").exit_code == 0
    assert md("cluster.xyz", "--steps", "0", "--frame", "0", "--out", "first.xyz").exit_code == 0
    np.testing.assert_allclose(read("md.extxyz").positions - read("first.xyz").positions, 1.0)
    wrong = md("cluster.xyz", "--steps", "0", "--frame", "2", "--out", "second.xyz")
    assert "has 2 frames; there is no frame 2" in str(wrong.exception)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.xyz"], "nothing.xyz"),
        (["cluster.xyz", "--steps", "1", "--picoseconds", "1"], "give one"),
        (["cluster.xyz", "--ensemble", "npt"], "periodic in three directions"),
        (["cluster.xyz", "--resume"], "there is no md.extxyz to resume"),
        (["cluster.xyz", "--timestep", "0"], "timestep"),
        (["cluster.xyz", "--steps", "1", "--timestep", "-1"], "timestep"),
        (["cluster.xyz", "--out", "md.traj"], "md.traj"),
        (["cluster.xyz", "--solver", "cholesky"], "method is 'cholesky', expected one of"),
        (["cluster.xyz", "--solver", "precision=1"], "'precision=1' is no setting of tolerance"),
        (["cluster.xyz", "--solver", "tolerance=small"], "expected a number in 'tolerance=small'"),
        (["cluster.xyz", "--solver", "mesh,tolerance=-1"], "expected more than 0"),
    ],
)
def test_mistakes_are_explained(folder, arguments, message):
    before = sorted(folder.iterdir())
    result = md(*arguments)
    assert result.exit_code != 0
    assert isinstance(result.exception, (ValueError, OSError))
    with pytest.raises(type(result.exception), match=message):
        raise result.exception
    assert sorted(folder.iterdir()) == before


def test_a_finished_trajectory_is_not_written_over(folder):
    assert md("cluster.xyz", "--steps", "2").exit_code == 0
    before = (folder / "md.extxyz").read_bytes()
    (folder / "model.safetensors").unlink()  # which is read, and code generated for it, after a look at the names
    result = md("cluster.xyz", "--steps", "2")
    assert isinstance(result.exception, FileExistsError)
    assert (folder / "md.extxyz").read_bytes() == before


def test_a_model_that_saw_charges_wants_to_know(folder):
    model = copy.deepcopy(trained_model())
    model.provenance = {"total_charges": [0.0, 1.0]}
    save_model(model, "model.safetensors")
    result = md("cluster.xyz", "--steps", "1")
    assert "total charge is missing" in str(result.exception)
    assert md("cluster.xyz", "--steps", "1", "--charge", "0").exit_code == 0


def test_a_committee_tells_how_far_its_members_are_apart(folder):
    members = [untrained_model(cluster(), seed) for seed in range(2)]
    save_committee(Committee(members), "model.safetensors")
    result = md("cluster.xyz", "--steps", "2", "--interval", "1", "--temperature", "1")
    assert result.exit_code == 0, result.output
    frames = read("md.extxyz", ":")
    rows = list(csv.DictReader((folder / "md.csv").open()))
    for atoms, row in zip(frames, rows, strict=True):
        assert atoms.info["energy_spread"] > 0
        largest = atoms.arrays["forces_spread"].max()
        assert largest > 0
        assert float(row["forces_spread_ev_per_angstrom"]) == pytest.approx(largest, abs=1e-9)
