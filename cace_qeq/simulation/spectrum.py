"""Infrared spectra from the dipoles of a trajectory.   (boundaries, eq. B9)"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms, units
from numpy.typing import NDArray

from cace_qeq.structures import place

Floats = NDArray[np.float64]

SHORTEST = 16  # frames
PER_WAVENUMBER = units._c * 100 / (1e15 * units.fs)  # 1/cm as frequency in ASE's unit of time
KM_PER_MOL = (
    1e-3 * units._Nav * units._e**2 / units._amu / (12 * units._eps0 * units._c**2)
)  # of a mode that changes the dipole by one e/√u


@dataclass(frozen=True)
class DipoleSeries:
    """What a trajectory says of a dipole.

    dipoles      (frame, 3)  e Å
    interval                 fs, between frames
    temperature              K, mean over the frames
    """

    dipoles: Floats
    interval: float
    temperature: float


@dataclass(frozen=True)
class Spectrum:
    """Infrared absorption.

    wavenumbers  (point,)  1/cm, ascending
    intensities  (point,)  km/mol per 1/cm, so that the area of a band is its integrated absorption
    """

    wavenumbers: Floats
    intensities: Floats

    def area(self, low: float, high: float) -> float:
        """km/mol, between two wavenumbers"""
        inside = (self.wavenumbers >= low) & (self.wavenumbers <= high)
        return float(np.trapezoid(self.intensities[inside], self.wavenumbers[inside]))


def dipole_series(frames: Sequence[Atoms]) -> DipoleSeries:
    """Of a trajectory of one molecule or cell, as `cace-qeq md` writes it.

    Raises ValueError for too few frames, frames without dipole, momenta or time, and unequal intervals but for a
    shorter last one.
    """
    if len(frames) < SHORTEST:
        raise ValueError(f"{len(frames)} frames, expected {SHORTEST} or more; run longer, or write frames more often")
    times = np.array([time_of(atoms) for atoms in frames])
    intervals = np.diff(times)
    if 0 < intervals[-1] < intervals[0]:  # the end of a run whose length is no multiple of its interval
        frames, times, intervals = frames[:-1], times[:-1], intervals[:-1]
    if intervals.min() <= 0 or np.ptp(intervals) > 1e-6 * intervals.max():
        index = int(np.abs(intervals - np.median(intervals)).argmax()) + 1
        raise ValueError(f"{place(frames[index])}: time {times[index]:g} fs, expected equal intervals between frames")
    if not any(atoms.get_kinetic_energy() > 0 for atoms in frames):
        raise ValueError(f"{place(frames[0])}: no atom moves in any frame, so that the temperature is zero")
    temperature = float(np.mean([kelvin(atoms) for atoms in frames]))
    return DipoleSeries(np.array([dipole_of(atoms) for atoms in frames]), float(intervals.mean()), temperature)


def time_of(atoms: Atoms) -> float:
    if "time_fs" not in atoms.info or not atoms.has("momenta"):
        raise ValueError(
            f"{place(atoms)}: no time_fs or no momenta, expected a trajectory of molecular dynamics as `cace-qeq md` "
            "writes it"
        )
    return float(atoms.info["time_fs"])


def kelvin(atoms: Atoms) -> float:
    """Of the free motions, where the trajectory says so or gives their number; of all motions otherwise."""
    motions = atoms.info.get("free_motions", 3 * len(atoms))
    return float(atoms.info.get("temperature", 2 * atoms.get_kinetic_energy() / (motions * units.kB)))


def dipole_of(atoms: Atoms) -> Floats:
    results = atoms.calc.results if atoms.calc is not None else {}
    if "dipole" not in results:
        raise ValueError(
            f"{place(atoms)}: no dipole; expected a trajectory of a model with charges, of a molecule (pbc F F F) or "
            "with charge_flow: bonds"
        )
    dipole = np.asarray(results["dipole"], dtype=np.float64)
    if not np.isfinite(dipole).all():
        raise ValueError(f"{place(atoms)}: the dipole is {dipole.tolist()}, expected finite numbers")
    return dipole


def infrared_spectrum(series: DipoleSeries, resolution: float = 0.0) -> Spectrum:
    """One-sided power of the dipole's velocity over its temperature: twice the transform of its autocorrelation.

    resolution  1/cm, at the least; segments of the trajectory this coarse are averaged. By default that of the whole.

    Windowed by Hann's function, which widens every line to about twice the resolution. Classical nuclei: the area of
    a harmonic band does not depend on the temperature.
    """
    from scipy.signal import welch  # here, as it takes a second

    step = series.interval * units.fs
    longest = len(series.dipoles)
    segment = min(longest, math.ceil(1 / (resolution * PER_WAVENUMBER * step))) if resolution > 0 else longest
    if segment < SHORTEST:
        coarsest = 1 / (SHORTEST * PER_WAVENUMBER * step)
        raise ValueError(f"a resolution of {resolution:g} leaves {segment} frames, expected {coarsest:g} 1/cm or less")
    frequencies, power = welch(series.dipoles, 1 / step, nperseg=segment, axis=0, detrend="linear")
    velocity = (2 * np.pi * frequencies) ** 2 * power.sum(axis=1)
    absorption = KM_PER_MOL * velocity / (units.kB * series.temperature)
    return Spectrum(frequencies / PER_WAVENUMBER, absorption * PER_WAVENUMBER)
