"""Thermal velocities: their temperature, and what does not move."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.constraints import FixAtoms, FixCartesian, FixCom

from cace_qeq.calculator import CACEQEqCalculator
from cace_qeq.simulation import DynamicsSettings, RelaxationSettings, relax, run_dynamics
from cace_qeq.simulation.velocities import draw_velocities, free_motions, rigid_momenta, temperature_of
from small_models import untrained_model

N_DRAWS = 400


def copper() -> Atoms:
    return bulk("Cu", cubic=True)


@pytest.mark.parametrize(
    ("atoms", "motions"),
    [
        (Atoms("Ar"), 1),  # none is free, and nothing is divided by zero
        (molecule("N2"), 1),
        (molecule("CO2"), 4),
        (molecule("H2O"), 3),
        (molecule("CH4"), 9),
        (copper(), 9),
    ],
    ids=lambda value: str(value.symbols) if isinstance(value, Atoms) else str(value),
)
def test_free_motions_are_counted_and_share_the_temperature(atoms, motions):
    assert free_motions(atoms, "nve") == motions
    assert free_motions(atoms, "nvt") == 3 * len(atoms)
    kinetic = []
    for seed in range(N_DRAWS):
        draw_velocities(atoms, 300.0, seed)
        kinetic.append(atoms.get_kinetic_energy())
    expected = motions / 2 * units.kB * 300 * (len(atoms) > 1)
    # chi-squared: relative standard error of the mean √(2 / motions / draws); four of them
    assert np.mean(kinetic) == pytest.approx(expected, rel=4 * (2 / motions / N_DRAWS) ** 0.5, abs=1e-12)


@pytest.mark.parametrize("name", ["N2", "CO2", "H2O", "CH3CH2OH"])
def test_a_molecule_neither_drifts_nor_turns(name):
    atoms = molecule(name)
    atoms.rotate(30, (1, 2, 3))
    atoms.positions += [3.0, -1.0, 2.0]
    draw_velocities(atoms, 300.0, seed=1)
    np.testing.assert_allclose(atoms.get_momenta().sum(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(atoms.get_angular_momentum(), 0, atol=1e-11)
    assert atoms.get_kinetic_energy() > 0


def test_a_crystal_does_not_drift():
    atoms = copper()
    draw_velocities(atoms, 300.0, seed=1)
    np.testing.assert_allclose(atoms.get_momenta().sum(axis=0), 0, atol=1e-12)
    assert np.abs(atoms.get_angular_momentum()).max() > 0.1


def test_the_seed_decides():
    first, same, other = molecule("H2O"), molecule("H2O"), molecule("H2O")
    draw_velocities(first, 300.0, seed=1)
    draw_velocities(same, 300.0, seed=1)
    draw_velocities(other, 300.0, seed=2)
    assert np.array_equal(first.get_momenta(), same.get_momenta())
    assert not np.allclose(first.get_momenta(), other.get_momenta())


def test_nothing_global_is_touched():
    state = np.random.get_state()[1].copy()
    draw_velocities(molecule("H2O"), 300.0, seed=1)
    assert np.array_equal(np.random.get_state()[1], state)


def test_constrained_atoms_rest():
    atoms = copper()
    atoms.set_constraint(FixAtoms([0, 2]))
    draw_velocities(atoms, 300.0, seed=1)
    assert not atoms.get_momenta()[[0, 2]].any()
    assert free_motions(atoms, "nve") == free_motions(atoms, "nvt") == 6


@pytest.mark.parametrize(
    ("constraints", "motions"),
    [
        ([FixAtoms([0, 1, 2, 3]), FixAtoms([2, 3, 4])], 9),
        ([FixCartesian([0, 1, 2, 3], (True, True, False)), FixAtoms([2, 3])], 14),
        ([FixAtoms([0, 1]), FixCom()], 15),
    ],
    ids=["atoms", "coordinates", "centre of mass"],
)
def test_what_is_held_twice_counts_once(constraints, motions):
    atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    atoms.set_constraint(constraints)
    assert free_motions(atoms, "nvt") == motions


def test_rotation_that_a_bath_has_left_is_counted_and_drift_is_not():
    atoms = molecule("H2O")
    noise = np.random.default_rng(1).standard_normal((3, 3))
    atoms.set_momenta(noise)
    assert free_motions(atoms, "nve") == 6  # it turns; drift is apart
    still = temperature_of(atoms, "nve", 6)
    atoms.set_momenta(noise + atoms.get_masses()[:, None] * [3.0, 0.0, 0.0])
    assert temperature_of(atoms, "nve", 6) == pytest.approx(still)
    assert temperature_of(atoms, "nvt", 9) == pytest.approx(atoms.get_temperature())
    atoms.set_momenta(noise - rigid_momenta(atoms, noise))
    assert free_motions(atoms, "nve") == 3


def test_what_external_charges_and_fields_push_is_counted():
    """Seen in a cube beside a charge of 3 e: half of the kinetic energy came to be drift and rotation."""
    atoms = molecule("H2O")
    atoms.info["electric_field"] = [0.0, 0.0, 0.1]
    assert free_motions(atoms, "nve") == 6  # it turns; an ion drifts as a whole, which is apart
    atoms.info["external_charges"] = [3.0]
    assert free_motions(atoms, "nve") == 9


def test_what_the_model_does_not_heed_pushes_nothing():
    """A field that was written for another model halved the temperature."""
    atoms = molecule("H2O")
    atoms.calc = CACEQEqCalculator(untrained_model(molecule("H2O"), energy="none"))
    atoms.info |= {"electric_field": [0.0, 0.0, 0.1], "external_charges": [3.0]}
    assert free_motions(atoms, "nve") == 3


def test_an_ion_in_a_field_gets_faster_and_no_hotter(tmp_path):
    """All of the 0.2 eV that the field gave an ion counted as heat, five times what was there."""
    atoms = molecule("H2O")
    atoms.info |= {"charge": 1.0, "electric_field": [0.05, 0.0, 0.0]}
    atoms.calc = CACEQEqCalculator(untrained_model(molecule("H2O")).double())
    relax(atoms, RelaxationSettings(n_steps=3), tmp_path / "relaxed.extxyz")
    atoms.set_momenta(np.zeros((3, 3)))
    run_dynamics(atoms, DynamicsSettings(n_steps=100, temperature=10.0), tmp_path / "md.extxyz")
    kinetic = atoms.get_kinetic_energy()
    of_drift = (atoms.get_momenta().sum(axis=0) ** 2).sum() / atoms.get_masses().sum() / 2
    log = np.genfromtxt(tmp_path / "md.csv", delimiter=",", names=True)
    assert of_drift > 0.1 * kinetic
    free = 6
    assert log["temperature_k"][-1] == pytest.approx(2 * (kinetic - of_drift) / (free * units.kB), rel=1e-6)
