"""Molecular dynamics with a model: what is conserved, what is written, and how a run goes on."""

import numpy as np
import pytest
from ase import Atoms
from ase.io import read

from cace_qeq.calculator import CACEQEqCalculator
from cace_qeq.simulation import DynamicsSettings, Sample, log_of, read_log, resume_dynamics, run_dynamics
from cace_qeq.structures import read_frames
from small_models import cluster, crystal, trained_model

ENSEMBLES = {
    "nve": {"ensemble": "nve"},
    "nvt": {"ensemble": "nvt"},
    "npt": {"ensemble": "npt", "pressure": 2000.0},
    "npt, flexible": {"ensemble": "npt", "cell": "flexible"},
}


def salt(atoms: Atoms, **info) -> Atoms:
    atoms.info.update(info)
    atoms.calc = CACEQEqCalculator(trained_model())
    return atoms


class Listener:
    """Remembers what it is told; stops the run at a step if it is asked to, as a user would."""

    def __init__(self, stop_at: int = -1):
        self.stop_at = stop_at
        self.steps: list[int] = []
        self.samples: list[Sample] = []

    def began(self, step: int) -> None:
        self.steps.append(step)

    def stepped(self, step: int) -> None:
        self.steps.append(step)
        if step == self.stop_at:
            raise KeyboardInterrupt

    def sampled(self, one: Sample) -> None:
        self.samples.append(one)


@pytest.mark.parametrize("make", [crystal, cluster])
def test_energy_is_conserved_to_second_order_in_the_time_step(make, tmp_path):
    """Velocity Verlet: a step twice as long, four times the error; 100 fs, both drift and fluctuation."""
    fine, coarse = (
        run_dynamics(salt(make()), DynamicsSettings(n_steps=100 // step, timestep=step, interval=1), tmp_path / name)
        for step, name in ((2, "fine.xyz"), (4, "coarse.xyz"))
    )
    assert coarse.energy_fluctuation / fine.energy_fluctuation == pytest.approx(4, rel=0.2)
    assert fine.energy_fluctuation < 3e-4  # eV/atom, against kinetic energies of 0.2
    assert abs(fine.energy_drift) < 5e-3  # eV/atom/ps


def test_momentum_is_conserved(tmp_path):
    atoms = salt(cluster())
    run_dynamics(atoms, DynamicsSettings(n_steps=50, timestep=2), tmp_path / "md.xyz")
    np.testing.assert_allclose(atoms.get_momenta().sum(axis=0), 0, atol=1e-10)
    np.testing.assert_allclose(atoms.get_angular_momentum(), 0, atol=1e-8)


def test_time_runs_backwards(tmp_path):
    atoms, start = salt(cluster()), cluster()
    settings = DynamicsSettings(n_steps=50, timestep=2)
    run_dynamics(atoms, settings, tmp_path / "there.xyz")
    assert np.abs(atoms.positions - start.positions).max() > 0.1
    atoms.set_momenta(-atoms.get_momenta())
    run_dynamics(atoms, settings, tmp_path / "back.xyz")
    np.testing.assert_allclose(atoms.positions, start.positions, atol=1e-9)


@pytest.mark.parametrize("charge", [0.0, 1.0])
def test_frames_hold_charges_that_add_up_and_everything_else(charge, tmp_path):
    atoms = salt(cluster(), charge=charge)
    run_dynamics(atoms, DynamicsSettings(n_steps=25, interval=10), tmp_path / "md.extxyz")
    frames = read_frames(tmp_path / "md.extxyz")
    assert [frame.info["step"] for frame in frames] == [0, 10, 20, 25]
    assert [frame.info["time_fs"] for frame in frames] == [0, 5, 10, 12.5]
    for frame in frames:
        assert frame.get_charges().sum() == pytest.approx(charge, abs=1e-8)
        assert frame.info["charge"] == charge
        frame_again = salt(frame.copy())
        assert frame_again.get_potential_energy() == pytest.approx(frame.get_potential_energy(), abs=1e-9)
        np.testing.assert_allclose(frame_again.get_forces(), frame.get_forces(), atol=1e-9)
    assert np.array_equal(frames[-1].get_momenta(), atoms.get_momenta())
    assert np.array_equal(frames[-1].positions, atoms.positions)


def test_labels_of_the_start_are_not_passed_on(tmp_path):
    atoms = salt(cluster(), REF_energy=-1.0)
    atoms.arrays["REF_forces"] = np.ones((8, 3))
    run_dynamics(atoms, DynamicsSettings(n_steps=1), tmp_path / "md.extxyz")
    for frame in read(tmp_path / "md.extxyz", ":"):
        assert "REF_energy" not in frame.info
        assert "REF_forces" not in frame.arrays


@pytest.mark.parametrize("ensemble", ENSEMBLES.values(), ids=ENSEMBLES)
def test_periodic_runs_are_logged(ensemble, tmp_path):
    settings = DynamicsSettings(n_steps=30, timestep=2, interval=5, **ensemble)
    summary = run_dynamics(salt(crystal()), settings, tmp_path / "md.extxyz")
    samples = read_log(tmp_path / "md.csv", last_step=30)
    frames = read(tmp_path / "md.extxyz", ":")
    assert len(samples) == len(frames) == 7
    for one, frame in zip(samples, frames, strict=True):
        assert one.step == frame.info["step"]
        assert one.volume == pytest.approx(frame.get_volume(), rel=1e-11)
        assert one.potential_energy == pytest.approx(frame.get_potential_energy(), rel=1e-11)
        assert one.total_energy == pytest.approx(frame.get_total_energy(), rel=1e-11)
        assert one.highest_charge == pytest.approx(frame.get_charges().max(), abs=1e-9)
    assert summary.temperature == pytest.approx(np.mean([one.temperature for one in samples]))
    assert (np.ptp([one.volume for one in samples]) > 1e-3) == (settings.ensemble == "npt")
    assert np.isnan(summary.energy_drift) == (settings.ensemble != "nve")
    assert np.isnan(samples[0].dipole)


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
    rows = [read_log(tmp_path / f"{name}.csv", 40) for name in ("whole", "parts")]
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


def test_a_run_that_goes_on_from_a_bath_keeps_its_temperature(tmp_path):
    """Without one, drift and rotation that the bath has left stay, and have their share."""
    atoms = salt(cluster())
    atoms.set_momenta(np.random.default_rng(0).standard_normal((len(atoms), 3)))
    thermal = atoms.get_temperature()
    run_dynamics(atoms, DynamicsSettings(n_steps=0), tmp_path / "md.extxyz")
    (first,) = read_log(tmp_path / "md.csv", 0)
    assert first.temperature == pytest.approx(thermal, rel=1e-9)


def test_slabs_have_no_pressure(tmp_path):
    """It would be that of the vacuum that their cell holds."""
    atoms = crystal()
    atoms.pbc = (True, True, False)
    summary = run_dynamics(salt(atoms), DynamicsSettings(n_steps=0), tmp_path / "md.extxyz")
    assert np.isnan(summary.pressure)


def test_velocities_come_from_the_structure_or_the_seed(tmp_path):
    moving, resting, other = salt(cluster()), salt(cluster()), salt(cluster())
    moving.set_momenta(np.eye(8, 3))
    run_dynamics(moving, DynamicsSettings(n_steps=0), tmp_path / "moving.xyz")
    assert np.array_equal(read(tmp_path / "moving.xyz").get_momenta(), np.eye(8, 3))
    run_dynamics(resting, DynamicsSettings(n_steps=0, seed=1), tmp_path / "resting.xyz")
    run_dynamics(other, DynamicsSettings(n_steps=0, seed=2), tmp_path / "other.xyz")
    assert not np.allclose(resting.get_momenta(), other.get_momenta())


def test_the_reporter_hears_of_everything(tmp_path):
    listener = Listener()
    run_dynamics(salt(cluster()), DynamicsSettings(n_steps=7, interval=3), tmp_path / "md.xyz", listener)
    assert listener.steps == list(range(8))
    assert [one.step for one in listener.samples] == [0, 3, 6, 7]


@pytest.mark.parametrize("name", ["md.extxyz", "md.csv"])
def test_nothing_is_written_over(name, tmp_path):
    (tmp_path / name).write_text("precious")
    with pytest.raises(FileExistsError, match="exists already"):
        run_dynamics(salt(cluster()), DynamicsSettings(n_steps=1), tmp_path / "md.extxyz")
    assert (tmp_path / name).read_text() == "precious"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_structure_that_the_model_refuses_leaves_no_files(tmp_path):
    atoms = salt(cluster())
    atoms.numbers[0] = 47
    with pytest.raises(ValueError, match="Ag"):
        run_dynamics(atoms, DynamicsSettings(n_steps=1), tmp_path / "md.extxyz")
    assert not list(tmp_path.iterdir())


def test_trajectories_are_extended_xyz(tmp_path):
    with pytest.raises(ValueError, match=r"ends in \.extxyz or \.xyz"):
        run_dynamics(salt(cluster()), DynamicsSettings(n_steps=1), tmp_path / "md.traj")


def test_atoms_that_fly_apart_stop_the_run(tmp_path):
    atoms = salt(cluster())
    atoms.set_momenta(1e4 * np.eye(8, 3))
    with pytest.raises(FloatingPointError, match="fly apart"):
        run_dynamics(atoms, DynamicsSettings(n_steps=5), tmp_path / "md.extxyz")


def turned_around(atoms: Atoms) -> None:
    atoms.numbers = atoms.numbers[::-1]


def shrunk(atoms: Atoms) -> None:
    del atoms[0]


def charged(atoms: Atoms) -> None:
    atoms.info["charge"] = 1


@pytest.mark.parametrize("change", [turned_around, shrunk, charged])
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
    with pytest.raises(ValueError, match="time step of 1 fs, not 0.5 fs"):
        resume_dynamics(salt(cluster()), DynamicsSettings(n_steps=20), tmp_path / "md.extxyz")


def test_there_is_nothing_to_resume(tmp_path):
    with pytest.raises(FileNotFoundError, match="start a new run"):
        resume_dynamics(salt(cluster()), DynamicsSettings(n_steps=20), tmp_path / "md.extxyz")
    (tmp_path / "md.extxyz").write_text("8\nProp")
    log_of(tmp_path / "md.extxyz").touch()
    with pytest.raises(ValueError, match="no complete frame"):
        resume_dynamics(salt(cluster()), DynamicsSettings(n_steps=20), tmp_path / "md.extxyz")
