"""`cace-qeq relax`, as it is typed."""

import os
import signal

import numpy as np
import pytest
from ase.io import read, write
from typer.testing import CliRunner

from cace_qeq.checkpoint import save_model
from cace_qeq.cli import app, main
from small_models import cluster, crystal, trained_model


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_model(trained_model(), "model.safetensors")
    write("cluster.xyz", cluster(), format="extxyz")
    write("crystal.xyz", crystal(), format="extxyz")
    return tmp_path


def relax(*arguments: str):
    return CliRunner().invoke(app, ["relax", "model.safetensors", *arguments])


def test_converged(folder):
    result = relax("cluster.xyz", "--charge", "1")
    assert result.exit_code == 0, result.output
    assert "Converged after" in result.output
    relaxed = read("relaxed.extxyz")
    assert np.linalg.norm(relaxed.get_forces(), axis=1).max() < 0.01
    assert relaxed.get_charges().sum() == pytest.approx(1, abs=1e-8)


def test_not_converged_is_exit_code_one_and_a_file(folder):
    result = relax("cluster.xyz", "--steps", "2", "--optimizer", "fire")
    assert result.exit_code == 1
    assert "Not converged after 2 steps" in result.output
    assert len(read("relaxed.extxyz")) == 8


def test_every_step_is_kept_if_asked_for(folder):
    result = relax("cluster.xyz", "--steps", "4", "--trajectory", "steps/all.extxyz")
    assert result.exit_code == 1
    frames = read("steps/all.extxyz", ":")
    assert [frame.info["step"] for frame in frames] == [0, 1, 2, 3, 4]
    assert frames[4].get_potential_energy() < frames[0].get_potential_energy()
    np.testing.assert_array_equal(frames[0].positions, read("cluster.xyz").positions)
    np.testing.assert_array_equal(frames[4].positions, read("relaxed.extxyz").positions)
    (folder / "relaxed.extxyz").unlink()
    (folder / "model.safetensors").unlink()  # which is read after a look at the names
    assert "steps/all.extxyz exists already" in str(relax("cluster.xyz", "--trajectory", "steps/all.extxyz").exception)


def test_the_cell(folder):
    result = relax("crystal.xyz", "--cell", "--out", "cell.extxyz", "--fmax", "0.05")
    assert result.exit_code == 0, result.output
    assert "largest stress" in result.output
    assert read("cell.extxyz").get_volume() != pytest.approx(crystal().get_volume(), rel=1e-3)


def test_nothing_is_written_over(folder):
    (folder / "relaxed.extxyz").write_text("precious")
    assert isinstance(relax("cluster.xyz").exception, FileExistsError)
    assert (folder / "relaxed.extxyz").read_text() == "precious"


def test_another_format_is_refused(folder):
    assert "give one that ends in .extxyz or .xyz" in str(relax("cluster.xyz", "--out", "r.cif").exception)


def test_an_interrupted_search_leaves_its_last_structure(folder, monkeypatch):
    monkeypatch.setattr("cace_qeq.cli.relax.progress_line", interrupted_at_the_third_step)
    result = relax("cluster.xyz", "--charge", "1", "--optimizer", "fire", "--out", "r[1].extxyz")
    assert result.exit_code == 130
    assert "r[1].extxyz holds the last structure" in result.output
    last = read("r[1].extxyz")
    assert not last.info["converged"]
    assert np.abs(last.positions - read("cluster.xyz").positions).max() > 1e-3


def test_a_search_that_is_ended_from_outside_leaves_its_last_structure(folder, monkeypatch):
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("cace_qeq.cli.relax.progress_line", lambda *_: os.kill(os.getpid(), signal.SIGTERM) or "")
    try:
        with pytest.raises(SystemExit) as ending:
            main(["relax", "model.safetensors", "cluster.xyz", "--out", "ended.extxyz"])
    finally:
        signal.signal(signal.SIGTERM, before)
    assert ending.value.code == 128 + signal.SIGTERM
    assert len(read("ended.extxyz")) == 8


def test_a_search_that_has_not_begun_leaves_nothing(folder, monkeypatch):
    monkeypatch.setattr("cace_qeq.cli.relax.relaxed", interrupted)
    result = relax("cluster.xyz", "--out", "none.extxyz")
    assert result.exit_code == 130
    assert "Interrupted; nothing is written." in result.output


def interrupted(*arguments):
    raise KeyboardInterrupt


def interrupted_at_the_third_step(step, energy, largest_force):
    if step == 3:
        raise KeyboardInterrupt
    return ""
