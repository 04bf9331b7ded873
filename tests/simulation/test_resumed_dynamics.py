"""How a run of molecular dynamics goes on, and what cannot go on."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.constraints import FixAtoms, FixedPlane
from ase.io import read

from cace_qeq.calculator import CACEQEqCalculator
from cace_qeq.files import alone
from cace_qeq.simulation import DynamicsSettings, log_of, read_log, resume_dynamics, run_dynamics
from cace_qeq.simulation.record import HEADER, write_log
from cace_qeq.structures import read_frames
from listened_runs import ENSEMBLES, Listener, salt
from small_models import cluster, crystal, trained_model


@pytest.mark.parametrize("ensemble", ENSEMBLES.values(), ids=ENSEMBLES)
@pytest.mark.parametrize("stop_at", [7, 20, 26])
def test_a_resumed_run_is_the_uninterrupted_one(ensemble, stop_at, tmp_path):
    """Up to rounding, which chaos has no time to raise: neighbour lists sum in another order."""
    settings = DynamicsSettings(n_steps=40, timestep=2, interval=10, seed=3, **ensemble)
    whole, parts, again = salt(crystal()), salt(crystal()), salt(crystal())
    expected = run_dynamics(whole, settings, tmp_path / "whole.extxyz")
    with pytest.raises(KeyboardInterrupt):
        run_dynamics(parts, settings, tmp_path / "parts.extxyz", Listener(stop_at))
    listener = Listener()
    summary = resume_dynamics(again, settings, tmp_path / "parts.extxyz", listener)
    assert listener.steps[0] == stop_at // 10 * 10  # the last frame
    np.testing.assert_allclose(again.positions, whole.positions, atol=1e-9)
    np.testing.assert_allclose(again.get_momenta(), whole.get_momenta(), atol=1e-9)
    np.testing.assert_allclose(again.cell, whole.cell, atol=1e-9)
    rows = [read_log(tmp_path / f"{name}.csv") for name in ("whole", "parts")]
    assert [one.step for one in rows[0]] == [one.step for one in rows[1]] == [0, 10, 20, 30, 40]
    assert [frame.info["step"] for frame in read(tmp_path / "parts.extxyz", ":")] == [0, 10, 20, 30, 40]
    assert summary.temperature == pytest.approx(expected.temperature, rel=1e-9)


@pytest.mark.parametrize("cut", [1, 40, 700, 1500])
def test_a_crash_while_writing_loses_at_most_a_frame(cut, tmp_path):
    settings = DynamicsSettings(n_steps=20, interval=5)
    whole = salt(cluster())
    run_dynamics(whole, settings, tmp_path / "md.extxyz")
    text = (tmp_path / "md.extxyz").read_bytes()
    (tmp_path / "md.extxyz").write_bytes(text[:-cut])
    log = (tmp_path / "md.csv").read_text()
    (tmp_path / "md.csv").write_text(log[:-3])
    again, listener = salt(cluster()), Listener()
    resume_dynamics(again, settings, tmp_path / "md.extxyz", listener)
    assert listener.steps[0] >= 10
    np.testing.assert_allclose(again.positions, whole.positions, atol=1e-9)
    assert len(read_frames(tmp_path / "md.extxyz")) == 5


def test_a_longer_run_of_the_same_trajectory(tmp_path):
    settings = DynamicsSettings(n_steps=10)
    run_dynamics(salt(cluster()), settings, tmp_path / "md.extxyz")
    finished = (tmp_path / "md.extxyz").read_bytes()
    resume_dynamics(salt(cluster()), settings, tmp_path / "md.extxyz")
    assert (tmp_path / "md.extxyz").read_bytes() == finished
    summary = resume_dynamics(salt(cluster()), DynamicsSettings(n_steps=20), tmp_path / "md.extxyz")
    assert summary.n_steps == 20
    assert (tmp_path / "md.extxyz").read_bytes().startswith(finished)


def test_a_run_may_end_between_two_intervals(tmp_path):
    """Its last frame is an extra one, that a longer run does not go on from: the bath's noise begins at intervals."""
    for name, lengths in (("whole", [8]), ("halves", [6, 8])):
        for n_steps in lengths:
            go_on = run_dynamics if n_steps == lengths[0] else resume_dynamics
            go_on(
                salt(cluster()),
                DynamicsSettings(n_steps=n_steps, ensemble="nvt", interval=4),
                tmp_path / f"{name}.extxyz",
            )
    for ending in ("extxyz", "csv"):
        assert (tmp_path / f"halves.{ending}").read_bytes() == (tmp_path / f"whole.{ending}").read_bytes()
    resume_dynamics(
        salt(cluster()), DynamicsSettings(n_steps=12, ensemble="nvt", interval=3), tmp_path / "whole.extxyz"
    )
    assert [atoms.info["step"] for atoms in read_frames(tmp_path / "whole.extxyz")] == [0, 4, 8, 9, 12]


def turned_around(atoms: Atoms) -> None:
    atoms.numbers = atoms.numbers[::-1]


def shrunk(atoms: Atoms) -> None:
    del atoms[0]


def charged(atoms: Atoms) -> None:
    atoms.info["charge"] = 1


def heavier(atoms: Atoms) -> None:
    atoms.set_masses(2 * atoms.get_masses())


@pytest.mark.parametrize("change", [turned_around, shrunk, charged, heavier])
def test_another_structure_cannot_resume(change, tmp_path):
    run_dynamics(salt(cluster(), charge=0), DynamicsSettings(n_steps=10), tmp_path / "md.extxyz")
    before = (tmp_path / "md.extxyz").read_bytes()
    atoms = salt(cluster(), charge=0)
    change(atoms)
    with pytest.raises(ValueError, match="md.extxyz"):
        resume_dynamics(atoms, DynamicsSettings(n_steps=20), tmp_path / "md.extxyz")
    assert (tmp_path / "md.extxyz").read_bytes() == before


@pytest.mark.parametrize(
    ("begun", "resumed"),
    [("nve", "nvt"), ("npt", "npt, flexible"), ("npt, flexible", "nve")],
)
def test_another_ensemble_cannot_resume(begun, resumed, tmp_path):
    run_dynamics(salt(crystal()), DynamicsSettings(n_steps=2, **ENSEMBLES[begun]), tmp_path / "md.extxyz")
    with pytest.raises(ValueError, match=r"was run as \w+, not \w+; give the same, or start a new run"):
        resume_dynamics(salt(crystal()), DynamicsSettings(n_steps=4, **ENSEMBLES[resumed]), tmp_path / "md.extxyz")


@pytest.mark.parametrize("change", [{"temperature": 310.0}, {"friction": 5.0}, {"seed": 7}, {"pressure": 2.0}])
def test_another_bath_cannot_resume(change, tmp_path):
    settings = {"ensemble": "npt", "temperature": 300.0}
    run_dynamics(salt(crystal()), DynamicsSettings(n_steps=2, **settings), tmp_path / "md.extxyz")
    (name,) = change
    with pytest.raises(ValueError, match=rf"was run with .*{name} .*, not .*{name} {change[name]}.*; give the same"):
        resume_dynamics(salt(crystal()), DynamicsSettings(n_steps=4, **settings | change), tmp_path / "md.extxyz")


def test_another_model_cannot_resume(tmp_path):
    """The same one may compute in another precision."""
    run_dynamics(salt(cluster()), DynamicsSettings(n_steps=2), tmp_path / "md.extxyz")
    atoms = salt(cluster())
    atoms.calc = CACEQEqCalculator(trained_model(), dtype=torch.float64)
    assert resume_dynamics(atoms, DynamicsSettings(n_steps=4), tmp_path / "md.extxyz").n_steps == 4
    with torch.no_grad():
        next(atoms.calc.model.energy_head.parameters()).add_(0.1)
    with pytest.raises(ValueError, match="was run with another model"):
        resume_dynamics(atoms, DynamicsSettings(n_steps=6), tmp_path / "md.extxyz")


def test_other_constraints_cannot_resume(tmp_path):
    atoms, settings = salt(cluster()), DynamicsSettings(n_steps=4, ensemble="nvt", interval=2)
    atoms.set_constraint(FixAtoms([0, 1]))
    run_dynamics(atoms, settings, tmp_path / "md.extxyz")
    longer = settings.model_copy(update={"n_steps": 6})
    with pytest.raises(ValueError, match="was run with other atoms held"):
        resume_dynamics(salt(cluster()), longer, tmp_path / "md.extxyz")
    again = salt(cluster())
    again.set_constraint(FixAtoms([0, 1]))
    resume_dynamics(again, longer, tmp_path / "md.extxyz")
    np.testing.assert_array_equal(again.positions[:2], cluster().positions[:2])


def test_constraints_that_files_do_not_know_are_asked_for_by_name(tmp_path):
    atoms, settings = salt(cluster()), DynamicsSettings(n_steps=4, ensemble="nvt", interval=2)
    atoms.set_constraint(FixedPlane(0, [0, 0, 1]))
    run_dynamics(atoms, settings, tmp_path / "md.extxyz")
    longer = settings.model_copy(update={"n_steps": 6})
    with pytest.raises(ValueError, match="was run under FixedPlane, not none; give the same"):
        resume_dynamics(salt(cluster()), longer, tmp_path / "md.extxyz")
    again = salt(cluster())
    again.set_constraint(FixedPlane(0, [0, 0, 1]))
    resume_dynamics(again, longer, tmp_path / "md.extxyz")
    assert again.positions[0, 2] == cluster().positions[0, 2]


def test_other_conditions_cannot_resume(tmp_path):
    in_field = {"electric_field": [0.0, 0.0, 0.1]}
    run_dynamics(salt(cluster(), **in_field), DynamicsSettings(n_steps=2), tmp_path / "md.extxyz")
    with pytest.raises(ValueError, match=r"was run under {'electric_field'.*not none; give the same"):
        resume_dynamics(salt(cluster()), DynamicsSettings(n_steps=4), tmp_path / "md.extxyz")
    assert (
        resume_dynamics(salt(cluster(), **in_field), DynamicsSettings(n_steps=4), tmp_path / "md.extxyz").n_steps == 4
    )


def test_a_total_charge_of_zero_need_not_be_written(tmp_path):
    run_dynamics(salt(cluster(), charge=0), DynamicsSettings(n_steps=2), tmp_path / "md.extxyz")
    assert resume_dynamics(salt(cluster()), DynamicsSettings(n_steps=4), tmp_path / "md.extxyz").n_steps == 4


def test_another_time_step_cannot_resume(tmp_path):
    run_dynamics(salt(cluster()), DynamicsSettings(n_steps=10, timestep=1), tmp_path / "md.extxyz")
    with pytest.raises(ValueError, match="took 10 fs for 10 steps, not steps of 0.5 fs"):
        resume_dynamics(salt(cluster()), DynamicsSettings(n_steps=20), tmp_path / "md.extxyz")


def test_there_is_nothing_to_resume(tmp_path):
    with pytest.raises(FileNotFoundError, match="start a new run"):
        resume_dynamics(salt(cluster()), DynamicsSettings(n_steps=20), tmp_path / "md.extxyz")
    (tmp_path / "md.extxyz").write_text("8\nProp")
    write_log(log_of(tmp_path / "md.extxyz"), [])
    with pytest.raises(ValueError, match="no complete frame"):
        resume_dynamics(salt(cluster()), DynamicsSettings(n_steps=20), tmp_path / "md.extxyz")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [("step=10", "step=x", "lacks what a run resumes from"), (":R:", ":Q:", "md.extxyz: the frame that ends at byte")],
)
def test_a_damaged_frame_is_not_resumed_from(old, new, message, tmp_path):
    run_dynamics(salt(cluster()), DynamicsSettings(n_steps=10), tmp_path / "md.extxyz")
    path = tmp_path / "md.extxyz"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ValueError, match=message):
        resume_dynamics(salt(cluster()), DynamicsSettings(n_steps=20), path)


def test_a_machine_that_stopped_may_have_lost_rows_of_the_log(tmp_path):
    settings = DynamicsSettings(n_steps=8, ensemble="nvt", interval=2)
    run_dynamics(salt(cluster()), settings, tmp_path / "md.extxyz")
    whole = {name: (tmp_path / name).read_text() for name in ("md.extxyz", "md.csv")}
    rows = whole["md.csv"].splitlines(keepends=True)
    (tmp_path / "md.csv").write_text("".join(rows[:-2]))
    resume_dynamics(salt(cluster()), settings, tmp_path / "md.extxyz")
    assert {name: (tmp_path / name).read_text() for name in whole} == whole
    (tmp_path / "md.csv").write_text("".join(rows[:2] + rows[3:]))
    with pytest.raises(ValueError, match="has 4 rows up to step 8, of which .*md.extxyz has 5 frames"):
        resume_dynamics(salt(cluster()), settings, tmp_path / "md.extxyz")


def test_two_processes_do_not_write_one_trajectory(tmp_path):
    path, settings = tmp_path / "md.extxyz", DynamicsSettings(n_steps=2)
    run_dynamics(salt(cluster()), settings, path)
    with alone(path), pytest.raises(BlockingIOError, match="md.extxyz is being written by another process"):
        resume_dynamics(salt(cluster()), DynamicsSettings(n_steps=4), path)
    with alone(tmp_path / "new.xyz"), pytest.raises(BlockingIOError, match="new.xyz is being written"):
        run_dynamics(salt(cluster()), settings, tmp_path / "new.xyz")
    assert resume_dynamics(salt(cluster()), DynamicsSettings(n_steps=4), path).n_steps == 4


@pytest.mark.parametrize("shorter", [15, 22])
def test_a_run_that_has_come_further_is_not_cut_back(shorter, tmp_path):
    """Not its frame between two intervals either, which a longer run replaces."""
    run_dynamics(salt(cluster()), DynamicsSettings(n_steps=25, interval=10), tmp_path / "md.extxyz")
    written = [(tmp_path / name).read_bytes() for name in ("md.extxyz", "md.csv")]
    with pytest.raises(ValueError, match=f"has come to step 25, beyond the {shorter} steps"):
        resume_dynamics(salt(cluster()), DynamicsSettings(n_steps=shorter, interval=10), tmp_path / "md.extxyz")
    assert [(tmp_path / name).read_bytes() for name in ("md.extxyz", "md.csv")] == written


@pytest.mark.parametrize(
    "content", ["", "wavenumber,intensity\n0.0000,1.0\n", f"{HEADER}\n"], ids=["empty", "other", "cut"]
)
def test_a_log_that_is_not_that_of_the_run_is_refused(tmp_path, content):
    run_dynamics(salt(cluster()), DynamicsSettings(n_steps=10), tmp_path / "md.xyz")
    (tmp_path / "md.csv").write_text(content)
    with pytest.raises(ValueError, match=r"md\.csv is not the log|no complete frame that its log knows"):
        resume_dynamics(salt(cluster()), DynamicsSettings(n_steps=20), tmp_path / "md.xyz")
