import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from typer.testing import CliRunner

from cace_qeq.cli import app
from cace_qeq.simulation.trajectory import append, frame_text

run = CliRunner().invoke


def test_a_trajectory_becomes_a_table_and_a_figure(tmp_path):
    path, out = tmp_path / "md.extxyz", tmp_path / "infrared.csv"
    for step in range(64):
        atoms = Atoms("OH", [[0, 0, 0], [0, 0, 1]], momenta=np.ones((2, 3)))
        atoms.calc = SinglePointCalculator(atoms, dipole=np.array([0.0, 0.0, 0.1 * np.cos(step)]))
        append(path, frame_text(atoms, {"step": step, "time_fs": 2.0 * step, "free_motions": 1}))
    result = run(app, ["spectrum", str(path), "--out", str(out), "--skip", "4", "--largest", "4000"])
    assert result.exit_code == 0, result.output
    assert "60 frames" in result.output
    table = np.loadtxt(out, delimiter=",", skiprows=1)
    peak = table[table[:, 1].argmax(), 0]
    assert abs(peak - 1e5 / (2 * np.pi * 2.0 * 2.99792458)) < table[1, 0]  # one radian in 2 fs
    assert table[:, 0].max() <= 4000
    assert out.with_suffix(".png").stat().st_size > 1000


def test_something_else_is_refused(tmp_path):
    (tmp_path / "one.extxyz").write_text("1\n\nO 0 0 0\n")
    result = run(app, ["spectrum", str(tmp_path / "one.extxyz")])
    assert result.exit_code != 0
    assert "1 frames, expected 16" in str(result.exception)


def test_the_table_does_not_take_the_name_of_the_figure(tmp_path):
    (tmp_path / "one.extxyz").write_text("1\n\nO 0 0 0\n")
    result = run(app, ["spectrum", str(tmp_path / "one.extxyz"), "--out", str(tmp_path / "ir.png")])
    assert "the name of the figure" in str(result.exception)


def test_the_trajectory_and_its_log_stay_what_they_are(tmp_path):
    (tmp_path / "md.extxyz").write_text("1\n\nO 0 0 0\n")
    for name in ("md.extxyz", "md.csv"):
        result = run(app, ["spectrum", str(tmp_path / "md.extxyz"), "--out", str(tmp_path / name)])
        assert "is the trajectory or its log" in str(result.exception)


def test_nothing_is_written_over(tmp_path):
    (tmp_path / "md.extxyz").write_text("1\n\nO 0 0 0\n")
    (tmp_path / "ir.csv").write_text("precious")
    result = run(app, ["spectrum", str(tmp_path / "md.extxyz"), "--out", str(tmp_path / "ir.csv")])
    assert "exists already" in str(result.exception)
    assert (tmp_path / "ir.csv").read_text() == "precious"


def test_a_resolution_that_the_trajectory_does_not_have_is_said(tmp_path):
    path = tmp_path / "md.extxyz"
    for step in range(64):
        atoms = Atoms("OH", [[0, 0, 0], [0, 0, 1]], momenta=np.ones((2, 3)))
        atoms.calc = SinglePointCalculator(atoms, dipole=np.array([0.0, 0.0, 0.1 * np.cos(step)]))
        append(path, frame_text(atoms, {"step": step, "time_fs": 2.0 * step, "free_motions": 1}))
    result = run(app, ["spectrum", str(path), "--out", str(tmp_path / "ir.csv"), "--resolution", "10"])
    assert result.exit_code == 0, result.output
    assert "1/cm, not 10: a longer trajectory would." in result.output
