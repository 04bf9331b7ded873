"""Spectra of signals that are known, and of a molecule whose normal modes are."""

import functools
from dataclasses import dataclass

import numpy as np
import pytest
from ase import Atoms, units
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read
from ase.optimize import BFGS

from cace_qeq.calculator import CACEQEqCalculator
from cace_qeq.response import predict_response
from cace_qeq.simulation import DipoleSeries, DynamicsSettings, dipole_series, infrared_spectrum, run_dynamics
from cace_qeq.simulation.spectrum import KM_PER_MOL, PER_WAVENUMBER
from cace_qeq.structures import to_batch
from small_models import cluster, trained_model

TEMPERATURE = 1.0  # K, so that modes stay harmonic


@dataclass(frozen=True)
class Modes:
    """Frequencies (mode,) in ASE's unit, shapes (mode, 3 atoms) of mass-weighted motion, dipole slopes (mode, 3)."""

    atoms: Atoms
    frequencies: np.ndarray
    shapes: np.ndarray
    slopes: np.ndarray


@functools.cache
def normal_modes() -> Modes:
    """Of the relaxed cluster: Hessian from forces, slopes of the dipole from Born charges."""
    atoms = cluster()
    atoms.calc = CACEQEqCalculator(trained_model())
    assert BFGS(atoms, logfile=None).run(fmax=1e-6, steps=300)
    weights = np.repeat(atoms.get_masses(), 3) ** -0.5
    hessian = weights[:, None] * second_derivatives(atoms) * weights
    squares, shapes = np.linalg.eigh((hessian + hessian.T) / 2)
    batch = to_batch(atoms, atoms.calc.model.geometry, 0.0)
    born = predict_response(atoms.calc.model, batch).born_charges.numpy().reshape(-1, 3)
    vibrations = shapes.T[6:]
    return Modes(atoms, np.sqrt(squares[6:]) / (2 * np.pi), vibrations, (vibrations * weights) @ born)


def second_derivatives(atoms: Atoms, step: float = 1e-3) -> np.ndarray:
    """At a minimum, so one displacement of each coordinate will do."""
    start, rows = atoms.positions.copy(), []
    for index in range(start.size):
        atoms.positions = start
        atoms.positions.flat[index] += step
        rows.append(-atoms.get_forces().ravel() / step)
    atoms.positions = start
    return np.array(rows)


def speeds() -> np.ndarray:
    """(mode,)  √u Å in ASE's unit of time: every mode with the energy kT, all of it kinetic, in alternate directions"""
    return np.sqrt(2 * units.kB * TEMPERATURE) * np.resize([-1.0, 1.0, 1.0], len(normal_modes().frequencies))


def vibrating() -> Atoms:
    modes = normal_modes()
    atoms = modes.atoms.copy()
    atoms.calc = CACEQEqCalculator(trained_model())
    weighted = speeds() @ modes.shapes
    atoms.set_velocities((weighted * np.repeat(atoms.get_masses(), 3) ** -0.5).reshape(-1, 3))
    return atoms


def harmonic_series(n_frames: int, interval: float) -> DipoleSeries:
    """What the same molecule would show if its modes were harmonic."""
    modes = normal_modes()
    angular = 2 * np.pi * modes.frequencies
    places = speeds() / angular * np.sin(np.arange(n_frames)[:, None] * interval * units.fs * angular)
    return DipoleSeries(places @ modes.slopes, interval, TEMPERATURE)


def test_the_spectrum_of_a_molecule_is_that_of_its_harmonic_modes(tmp_path):
    settings = DynamicsSettings(n_steps=400, timestep=3.0, interval=1)
    run_dynamics(vibrating(), settings, tmp_path / "md.extxyz")
    series = dipole_series(read(tmp_path / "md.extxyz", ":"))
    found, expected = infrared_spectrum(series), infrared_spectrum(harmonic_series(401, 3.0))
    assert series.temperature == pytest.approx(TEMPERATURE, rel=0.1)  # half of the energy on average, not always
    assert np.abs(found.intensities - expected.intensities).max() < 0.1 * expected.intensities.max()
    strengths = KM_PER_MOL * (normal_modes().slopes ** 2).sum()
    assert found.area(50, 1000) == pytest.approx(strengths, rel=0.15)  # neighbouring bands interfere in so short a run


def oscillation(wavenumber: float, amplitude: float, n_frames: int = 4096) -> DipoleSeries:
    time = np.arange(n_frames) * 1.0
    phase = 2 * np.pi * wavenumber * PER_WAVENUMBER * time * units.fs
    dipoles = np.stack([amplitude * np.cos(phase), 3 + amplitude * np.sin(phase), 0 * time], axis=1)
    return DipoleSeries(dipoles, 1.0, 300.0)


@pytest.mark.parametrize("resolution", [0.0, 30.0])
def test_one_frequency(resolution):
    series = oscillation(1600.0, 0.02)
    found = infrared_spectrum(series, resolution)
    spacing = found.wavenumbers[1]
    assert abs(found.wavenumbers[found.intensities.argmax()] - 1600.0) <= spacing
    assert spacing == pytest.approx(resolution or 1 / (4096 * units.fs * PER_WAVENUMBER), rel=0.02)
    speed = 2 * np.pi * 1600.0 * PER_WAVENUMBER * 0.02
    expected = KM_PER_MOL * speed**2 / (units.kB * 300.0)
    assert found.area(1400, 1800) == pytest.approx(expected, rel=1e-2)


def test_the_unit_of_intensity():
    """1 (D/Å)²/u is 42.256 km/mol, as tables of quantum chemistry have it."""
    assert KM_PER_MOL * units.Debye**2 == pytest.approx(42.256, abs=1e-3)


def frames(n_frames: int = 20) -> list[Atoms]:
    found = [Atoms("OH", [[0, 0, 0], [0, 0, 1]], momenta=np.ones((2, 3))) for _ in range(n_frames)]
    for step, atoms in enumerate(found):
        atoms.info["time_fs"] = 2.0 * step
        atoms.calc = SinglePointCalculator(atoms, dipole=[0.0, 0.0, 0.1])
    return found


def test_the_temperature_is_that_of_the_free_motions():
    """As the frames say, by their number of motions, or of all."""
    kinetic = frames()[0].get_kinetic_energy() / units.kB
    assert dipole_series(frames()).temperature == pytest.approx(2 * kinetic / 6)
    for info, expected in (({"free_motions": 1}, 2 * kinetic), ({"free_motions": 1, "temperature": 100.0}, 100.0)):
        told = frames()
        for atoms in told:
            atoms.info |= info
        assert dipole_series(told).temperature == pytest.approx(expected)


def test_trajectories_without_a_spectrum_are_explained():
    assert dipole_series(frames()).interval == 2.0
    with pytest.raises(ValueError, match="3 frames, expected 16 or more"):
        dipole_series(frames(3))
    shorter = frames()
    shorter[-1].info["time_fs"] -= 0.5  # at the end of a run
    assert len(dipole_series(shorter).dipoles) == len(shorter) - 1
    uneven = frames()
    uneven[7].info["time_fs"] += 0.5
    with pytest.raises(ValueError, match="expected equal intervals"):
        dipole_series(uneven)
    without = frames()
    without[4].calc = None
    with pytest.raises(ValueError, match="HO: no dipole"):
        dipole_series(without)
    still = frames()
    del still[5].arrays["momenta"]
    with pytest.raises(ValueError, match="no time_fs or no momenta"):
        dipole_series(still)
    resting = frames()
    for atoms in resting:
        atoms.set_momenta(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="no atom moves in any frame"):
        dipole_series(resting)
    broken = frames()
    broken[3].calc = SinglePointCalculator(broken[3], dipole=[0.0, np.nan, 0.1])
    with pytest.raises(ValueError, match="the dipole is .*nan"):
        dipole_series(broken)


def test_a_resolution_that_leaves_too_few_frames_is_refused():
    with pytest.raises(ValueError, match="leaves 1 frames, expected .* 1/cm or less"):
        infrared_spectrum(oscillation(1000.0, 1.0, 64), 1e6)


def test_an_ion_that_drifts_absorbs_nothing():
    time = np.arange(1024.0)[:, None]
    still = 0.02 * np.cos(0.3 * time) * [1.0, 0.0, 0.0]
    moving = still + 0.005 * time * [1.0, 2.0, 0.0]
    found, expected = (infrared_spectrum(DipoleSeries(d, 1.0, 300.0), 100.0).intensities for d in (moving, still))
    np.testing.assert_allclose(found, expected, atol=1e-3 * expected.max())
