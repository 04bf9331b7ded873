"""The numbers of a run: one row per sample in a CSV file, and what they say together."""

import csv
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from ase import Atoms, units
from numpy.typing import NDArray

from cace_qeq.files import write_atomically


@dataclass(frozen=True)
class Sample:
    """The state at one step; NaN where a structure has no such quantity.

    step
    time              fs
    potential_energy  eV
    kinetic_energy    eV
    total_energy      eV
    temperature       K     of the free motions
    volume            Å³
    pressure          bar   the motion of the atoms included
    dipole            e Å   its length
    lowest_charge     e
    highest_charge    e
    forces_spread     eV/Å  of a committee, the largest standard deviation of a component over its members
    """

    step: int
    time: float
    potential_energy: float
    kinetic_energy: float
    total_energy: float
    temperature: float
    volume: float
    pressure: float
    dipole: float
    lowest_charge: float
    highest_charge: float
    forces_spread: float = np.nan


HEADER = (
    "step,time_fs,potential_energy_ev,kinetic_energy_ev,total_energy_ev,temperature_k,volume_angstrom3,"
    "pressure_bar,dipole_e_angstrom,lowest_charge_e,highest_charge_e,forces_spread_ev_per_angstrom"
)


@dataclass(frozen=True)
class DynamicsSummary:
    """A run in a few numbers; NaN where they have no meaning.

    n_steps             of the whole run, those before a resumption included
    time                ps
    energy_drift        eV/atom/ps  slope of the total energy, nve only
    energy_fluctuation  eV/atom     RMS of the total energy about that line, nve only
    temperature         K           mean
    temperature_spread  K           standard deviation
    volume              Å³          mean
    pressure            bar         mean
    """

    n_steps: int
    time: float
    energy_drift: float
    energy_fluctuation: float
    temperature: float
    temperature_spread: float
    volume: float
    pressure: float


def sample(atoms: Atoms, step: int, time: float, temperature: float) -> Sample:
    """The state of atoms with a calculator."""
    potential, kinetic = float(atoms.get_potential_energy()), float(atoms.get_kinetic_energy())
    results = atoms.calc.results
    charges = results.get("charges", [np.nan])
    return Sample(
        step=step,
        time=time,
        potential_energy=potential,
        kinetic_energy=kinetic,
        total_energy=potential + kinetic,
        temperature=temperature,
        volume=float(atoms.get_volume()) if atoms.pbc.all() else np.nan,
        pressure=pressure(atoms) if atoms.pbc.all() and "stress" in results else np.nan,
        dipole=float(np.linalg.norm(results.get("dipole", np.nan))),
        lowest_charge=float(np.min(charges)),
        highest_charge=float(np.max(charges)),
        forces_spread=float(np.max(results.get("forces_spread", np.nan))),
    )


def pressure(atoms: Atoms) -> float:
    """bar, the motion of the atoms included"""
    return float(-np.mean(atoms.get_stress(include_ideal_gas=True)[:3]) / units.bar)


def summarize(samples: Sequence[Sample], n_atoms: int, ensemble: str) -> DynamicsSummary:
    """What all samples say together; the line through the total energy is one of least squares."""
    time = column(samples, "time") / 1000
    energy = (column(samples, "total_energy") - samples[0].total_energy) / n_atoms
    temperature = column(samples, "temperature")
    drift = fluctuation = np.nan
    if ensemble == "nve" and len(samples) > 2:
        drift, offset = np.polyfit(time, energy, 1)
        fluctuation = np.std(energy - drift * time - offset)
    return DynamicsSummary(
        n_steps=samples[-1].step,
        time=float(time[-1]),
        energy_drift=float(drift),
        energy_fluctuation=float(fluctuation),
        temperature=float(temperature.mean()),
        temperature_spread=float(temperature.std()),
        volume=float(column(samples, "volume").mean()),
        pressure=float(column(samples, "pressure").mean()),
    )


def column(samples: Sequence[Sample], name: str) -> NDArray[np.float64]:
    return np.array([getattr(one, name) for one in samples])


def write_log(path: Path, samples: Sequence[Sample]) -> None:
    """A log of exactly these samples; the file appears whole."""
    write_atomically(path, "".join([f"{HEADER}\n", *map(row, samples)]).encode())


def row(one: Sample) -> str:
    """A line of the log; what is NaN stays empty."""
    return ",".join("" if np.isnan(value) else f"{value:.12g}" for value in astuple(one)) + "\n"


def sample_of(cells: Sequence[str], path: Path) -> Sample:
    """The reverse of `row`.  Raises ValueError naming the file."""
    try:
        return Sample(int(cells[0]), *(float(cell or "nan") for cell in cells[1:]))
    except (ValueError, TypeError, IndexError):
        raise ValueError(f"{path}: {','.join(cells)!r} is no row of a log; repair it, or start a new run.") from None


def read_log(path: Path) -> list[Sample]:
    """All samples; a row that was cut off while it was written is left out.

    Raises ValueError for another file, and for damage.
    """
    whole_lines = path.read_text().rpartition("\n")[0].splitlines()
    if not whole_lines or whole_lines[0] not in (
        HEADER,
        HEADER.rpartition(",")[0],
    ):  # earlier ones lack the last column
        raise ValueError(f"{path} is not the log of a run, or was cut; start a new run.")
    samples = [sample_of(cells, path) for cells in csv.reader(whole_lines[1:])]
    if any(later.step <= earlier.step for earlier, later in pairwise(samples)):
        raise ValueError(f"the steps of {path} do not increase, as if two runs had written it; start a new run.")
    return samples
