"""Relaxed structures are minima, and say so."""

import numpy as np
import pytest
from ase.calculators.morse import MorsePotential
from ase.io import read

from cace_qeq.calculator import CACEQEqCalculator
from cace_qeq.files import alone
from cace_qeq.simulation import DynamicsSettings, RelaxationSettings, relax, run_dynamics
from cace_qeq.structures import LabelKeys, label_sources, read_frames
from small_models import MORSE, cluster, crystal, trained_model


def salt(atoms):
    atoms.calc = CACEQEqCalculator(trained_model())
    return atoms


@pytest.mark.parametrize("optimizer", ["bfgs", "lbfgs", "fire"])
def test_forces_vanish_and_the_energy_is_lowest(optimizer, tmp_path):
    atoms = salt(cluster())
    start = atoms.get_potential_energy()
    result = relax(atoms, RelaxationSettings(optimizer=optimizer, largest_force=0.005), tmp_path / "r.extxyz")
    assert result.converged
    assert np.linalg.norm(atoms.get_forces(), axis=1).max() == result.largest_force < 0.005
    assert result.energy - start == result.energy_change < 0
    assert np.isnan(result.largest_stress)
    for seed in range(3):
        nearby = salt(atoms.copy())
        nearby.rattle(0.02, seed=seed)
        assert nearby.get_potential_energy() > result.energy


@pytest.mark.parametrize("pressure", [0.0, 20000.0])
def test_the_cell_finds_its_pressure(pressure, tmp_path):
    atoms = salt(crystal())
    settings = RelaxationSettings(cell="relaxed", pressure=pressure, largest_force=0.002)
    result = relax(atoms, settings, tmp_path / "r.extxyz")
    assert result.converged
    # 0.002 eV per atom of strain, eight atoms in 150 Å³, is 170 bar
    assert result.largest_stress < 170
    assert (atoms.get_stress()[:3] * 1.602176634e6).mean() == pytest.approx(-pressure, abs=170)


def test_external_charges_do_not_follow_a_cell(tmp_path):
    atoms = salt(crystal())
    atoms.info.update(external_positions=[[1.3, 1.4, 1.5]], external_charges=[1.0])
    for run, settings in [
        (relax, RelaxationSettings(cell="relaxed")),
        (run_dynamics, DynamicsSettings(n_steps=1, ensemble="npt")),
    ]:
        with pytest.raises(ValueError, match="external charges stay where they are"):
            run(atoms, settings, tmp_path / "r.extxyz")


def test_two_searches_do_not_write_one_trajectory(tmp_path):
    steps = tmp_path / "steps.xyz"
    with alone(steps), pytest.raises(BlockingIOError, match="steps.xyz is being written by another process"):
        relax(salt(cluster()), RelaxationSettings(n_steps=1), tmp_path / "r.xyz", trajectory=steps)
    assert list(tmp_path.iterdir()) == []


def test_what_a_model_moved_is_not_labelled_by_it(tmp_path):
    """A model trained on its own trajectory would learn what it knows; another calculator's results are labels."""
    settings = DynamicsSettings(n_steps=1)
    for name, atoms, keys in [("ours", salt(cluster()), {None}), ("theirs", cluster(), {"energy", "forces", None})]:
        atoms.calc = atoms.calc or MorsePotential(**MORSE)
        relax(atoms, RelaxationSettings(n_steps=1), tmp_path / f"{name}.xyz", trajectory=tmp_path / f"{name}_steps.xyz")
        run_dynamics(atoms, settings, tmp_path / f"{name}_md.xyz")
        for path in tmp_path.glob(f"{name}*.xyz"):
            for frame in read_frames(path):
                assert set(label_sources(frame, LabelKeys()).values()) == keys, path


def test_the_structure_is_written_with_its_charges(tmp_path):
    atoms = salt(cluster())
    atoms.set_momenta(np.ones((8, 3)))
    atoms.info["charge"] = 1
    relax(atoms, RelaxationSettings(n_steps=5), tmp_path / "folder" / "r.extxyz")
    written = read(tmp_path / "folder" / "r.extxyz")
    assert np.array_equal(written.positions, atoms.positions)
    assert written.get_charges().sum() == pytest.approx(1, abs=1e-8)
    assert written.info["charge"] == 1
    assert not written.has("momenta")


def test_a_search_that_gave_up_says_so(tmp_path):
    result = relax(salt(cluster()), RelaxationSettings(n_steps=2, largest_force=1e-6), tmp_path / "r.extxyz")
    assert not result.converged
    assert result.n_steps == 2
    assert not read(tmp_path / "r.extxyz").info["converged"]


def test_every_step_is_reported(tmp_path):
    heard = []
    settings = RelaxationSettings(n_steps=3, largest_force=1e-6)
    relax(salt(cluster()), settings, tmp_path / "r.extxyz", lambda *state: heard.append(state))
    assert [state[0] for state in heard] == [0, 1, 2, 3]
    assert heard[-1][1] < heard[0][1]


def test_a_search_that_fails_leaves_its_last_structure(tmp_path):
    atoms = salt(cluster())
    with pytest.raises(ZeroDivisionError):
        relax(atoms, RelaxationSettings(largest_force=1e-6), tmp_path / "r.extxyz", lambda step, *_: 1 / (3 - step))
    last = read(tmp_path / "r.extxyz")
    assert not last.info["converged"]
    assert np.array_equal(last.positions, atoms.positions)


def test_nothing_is_written_over(tmp_path):
    (tmp_path / "r.extxyz").write_text("precious")
    with pytest.raises(FileExistsError, match="exists already"):
        relax(salt(cluster()), RelaxationSettings(), tmp_path / "r.extxyz")
    assert (tmp_path / "r.extxyz").read_text() == "precious"


def test_the_trajectory_has_a_file_of_its_own(tmp_path):
    with pytest.raises(ValueError, match="give two names"):
        relax(salt(cluster()), RelaxationSettings(), tmp_path / "r.extxyz", trajectory=tmp_path / "." / "r.extxyz")
    assert not (tmp_path / "r.extxyz").exists()


def test_a_molecule_has_no_cell_to_relax(tmp_path):
    with pytest.raises(ValueError, match="periodic in three directions"):
        relax(salt(cluster()), RelaxationSettings(cell="relaxed"), tmp_path / "r.extxyz")
