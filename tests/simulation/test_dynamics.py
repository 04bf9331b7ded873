"""Molecular dynamics with a model: what is conserved and what is written."""

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.calculators.calculator import all_changes
from ase.calculators.emt import EMT
from ase.io import read

from cace_qeq.simulation import DynamicsSettings, read_log, run_dynamics
from cace_qeq.structures import read_frames
from listened_runs import ENSEMBLES, Listener, salt
from small_models import cluster, crystal


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
    samples = read_log(tmp_path / "md.csv")
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


def test_a_run_that_goes_on_from_a_bath_keeps_its_temperature(tmp_path):
    """Without one, rotation that the bath has left stays, and has its share; drift is apart."""
    atoms = salt(cluster())
    atoms.set_momenta(np.random.default_rng(0).standard_normal((len(atoms), 3)))
    of_drift = (atoms.get_momenta().sum(axis=0) ** 2).sum() / atoms.get_masses().sum() / 2
    thermal = 2 * (atoms.get_kinetic_energy() - of_drift) / ((3 * len(atoms) - 3) * units.kB)
    run_dynamics(atoms, DynamicsSettings(n_steps=0), tmp_path / "md.extxyz")
    first, *_ = read_log(tmp_path / "md.csv")
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


def test_atoms_without_mass_are_refused(tmp_path):
    atoms = salt(cluster())
    atoms.set_masses([*atoms.get_masses()[:-1], 0.0])
    with pytest.raises(ValueError, match="atom 7 has a mass of 0 u"):
        run_dynamics(atoms, DynamicsSettings(n_steps=1), tmp_path / "md.extxyz")
    assert not list(tmp_path.iterdir())


def test_tags_and_types_stay(tmp_path):
    atoms = salt(cluster())
    atoms.set_tags(range(8))
    atoms.info["config_type"] = "salt"
    run_dynamics(atoms, DynamicsSettings(n_steps=1), tmp_path / "md.extxyz")
    last = read(tmp_path / "md.extxyz")
    assert last.get_tags().tolist() == list(range(8))
    assert last.info["config_type"] == "salt"


def test_atoms_that_fly_apart_stop_the_run(tmp_path):
    atoms = salt(cluster())
    atoms.set_momenta(1e4 * np.eye(8, 3))
    with pytest.raises(FloatingPointError, match="fly apart"):
        run_dynamics(atoms, DynamicsSettings(n_steps=5), tmp_path / "md.extxyz")
    assert list(tmp_path.iterdir()) == []  # nothing stands in the way of a corrected run


def test_steps_too_long_for_the_bonds_stop_the_run(tmp_path):
    """Free atoms at a few thousand kelvin would look like a run that went well."""
    settings = DynamicsSettings(n_steps=200, timestep=40, interval=1)
    with pytest.raises(FloatingPointError, match="has changed by .* eV per atom: the atoms fly apart"):
        run_dynamics(salt(cluster()), settings, tmp_path / "md.extxyz")
    assert max(one.temperature for one in read_log(tmp_path / "md.csv")) < 1e5


def test_calculators_may_compute_what_is_asked_alone(tmp_path):
    class Lazy(EMT):
        def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
            super().calculate(atoms, properties, system_changes)
            self.results = {name: self.results[name] for name in properties}

    atoms = bulk("Cu", cubic=True)
    atoms.calc = Lazy()
    expected = atoms.get_potential_energy()
    run_dynamics(atoms, DynamicsSettings(n_steps=2, interval=1), tmp_path / "md.extxyz")
    assert read_log(tmp_path / "md.csv")[0].potential_energy == pytest.approx(expected)
