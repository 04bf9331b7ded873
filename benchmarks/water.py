"""Liquid water with a trained model: conservation at constant energy and at constant pressure, and its structure.

    python benchmarks/water.py

trains benchmarks/configs/water.yaml (64 molecules, PBE0+TS, path-integral snapshots), and from a test frame runs
12 ps at constant temperature, whose last 10 give radial distribution functions beside those of the snapshots, then from
its end 20 ps at constant pressure and 5 ps at constant energy. Constant pressure is that of Martyna, Tobias and Klein
(doi 10.1063/1.467468), deterministic and so with a conserved quantity; it begins anew if it was broken off, the others
go on where they were. Networks compute in float32, that at constant energy in float64. Writes results/water.json and
docs/figures/water.png; runs/ keeps the states.
"""

from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms, units
from ase.geometry.rdf import get_rdf
from ase.md.nose_hoover_chain import IsotropicMTKNPT
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from cace_qeq import CACEQEqCalculator
from cace_qeq.cli.md import MovingBar
from cace_qeq.files import write_atomically
from cace_qeq.plots import save
from cace_qeq.simulation import DynamicsSettings, resume_dynamics, run_dynamics
from cace_qeq.simulation.record import pressure
from cace_qeq.structures import read_frames
from cace_qeq.training import TrainConfig, load_config
from record import script, write_result
from variants.outcomes import trained

CONFIG = Path(__file__).parent / "configs" / "water.yaml"
FIGURE = Path(__file__).parent.parent / "docs" / "figures" / "water.png"
TEMPERATURE = 300.0  # K
TIMESTEP = 0.5  # fs
DISCARDED = 2.0  # ps, until the bath is felt
LENGTHS = {"nvt": 12.0, "nve": 5.0, "npt": 20.0}  # ps
INTERVAL = 40  # steps between frames
PAIRS = (("O", "O"), ("O", "H"), ("H", "H"))
FARTHEST, BINS = 6.2, 124  # Å, half of the cell
GRAMS_PER_CC = 1e24 / units.mol  # of u/Å³


def main() -> None:
    """Train preset S on liquid water, run dynamics of it, and write one result and a figure."""
    config = load_config(CONFIG)
    folder = config.training.output
    result: dict[str, Any] = {"config": "benchmarks/configs/water.yaml", "errors": trained(config)}
    result["nvt"] = moved(liquid(read_frames(config.data.test[0])[0], folder, torch.float32), "nvt", folder)
    frames = read_frames(folder / "nvt.extxyz")
    equilibrated = frames[round(1000 * DISCARDED / TIMESTEP / INTERVAL) :]
    result["radial"] = {"model": radial(equilibrated), "snapshots": radial(all_snapshots(config))}
    result["npt"] = at_constant_pressure(liquid(frames[-1], folder, torch.float32), folder)
    result["nve"] = moved(liquid(frames[-1], folder, torch.float64), "nve", folder)
    draw(result["radial"], len(frames[-1]), folder)
    Console().print(f"{write_result('water', result)}, {FIGURE}")


def liquid(frame: Atoms, folder: Path, dtype: torch.dtype) -> Atoms:
    """Positions and momenta of a frame, with the trained model; its network in this precision."""
    atoms = Atoms(frame.numbers, frame.positions, momenta=frame.get_momenta(), cell=frame.cell, pbc=True)
    atoms.calc = CACEQEqCalculator(folder / "model.safetensors", dtype=dtype)
    return atoms


def all_snapshots(config: TrainConfig) -> list[Atoms]:
    assert isinstance(config.data.valid, tuple)
    return list(chain.from_iterable(map(read_frames, (*config.data.train, *config.data.valid, *config.data.test))))


def moved(atoms: Atoms, ensemble: str, folder: Path) -> dict[str, Any]:
    """Dynamics of this package."""
    trajectory = folder / f"{ensemble}.extxyz"
    settings = DynamicsSettings(
        n_steps=steps(ensemble), ensemble=ensemble, timestep=TIMESTEP, temperature=TEMPERATURE, interval=INTERVAL
    )  # fmt: skip
    run = resume_dynamics if trajectory.exists() else run_dynamics
    with MovingBar(settings.n_steps, Console()) as bar:
        return asdict(run(atoms, settings, trajectory, bar))


def steps(ensemble: str) -> int:
    return round(1000 * LENGTHS[ensemble] / TIMESTEP)


def at_constant_pressure(atoms: Atoms, folder: Path) -> dict[str, Any]:
    """300 K and 1 bar; the log, npt.csv, holds ps, K, bar, Å³ and the conserved quantity in eV per atom."""
    log = folder / "npt.csv"
    if not log.exists():
        write_log(log, followed(atoms))
    written = read_csv(log)
    time, volume, conserved = written["ps"], written["angstrom3"], written["conserved_ev_per_atom"]
    late = time >= DISCARDED
    drift, offset = np.polyfit(time, conserved, 1)
    return {
        "picoseconds": time[-1],
        "conserved_drift_ev_per_atom_per_ps": drift,
        "conserved_fluctuation_ev_per_atom": float(np.std(conserved - drift * time - offset)),
        "temperature_k": float(written["k"][late].mean()),
        "pressure_bar": float(written["bar"][late].mean()),
        "volume_angstrom3": [float(volume[0]), float(volume[late].mean()), float(volume[late].std())],
        "density_grams_per_cc": GRAMS_PER_CC * float((atoms.get_masses().sum() / volume[late]).mean()),
    }


def followed(atoms: Atoms) -> list[tuple[float, ...]]:
    dynamics = IsotropicMTKNPT(
        atoms,
        timestep=TIMESTEP * units.fs,
        temperature_K=TEMPERATURE,
        pressure_au=units.bar,
        tdamp=50 * units.fs,
        pdamp=1000 * units.fs,
    )
    rows = []
    for step in track(range(steps("npt") + 1), "npt"):
        if step % INTERVAL == 0:
            conserved = dynamics.get_conserved_energy() / len(atoms)
            time = step * TIMESTEP / 1000
            rows.append((time, atoms.get_temperature(), pressure(atoms), atoms.get_volume(), conserved))
        dynamics.step()
    return rows


def write_log(path: Path, rows: list[tuple[float, ...]]) -> None:
    lines = ["ps,k,bar,angstrom3,conserved_ev_per_atom", *(",".join(f"{x:.12g}" for x in row) for row in rows)]
    write_atomically(path, "".join(f"{line}\n" for line in lines).encode())


def radial(frames: list[Atoms]) -> dict[str, list[float]]:
    """g(r) of each pair of elements in BINS bins up to FARTHEST."""
    return {"-".join(pair): get_rdf(frames, FARTHEST, BINS, elements=pair, no_dists=True).tolist() for pair in PAIRS}


def draw(found: dict[str, dict[str, list[float]]], n_atoms: int, folder: Path) -> None:
    """Radial distribution functions above; below, energy and temperature at constant energy, and the volume."""
    figure = Figure(figsize=(9.0, 5.4), layout="constrained")
    above, below = figure.subplots(2, 3)
    distance = FARTHEST * (np.arange(BINS) + 0.5) / BINS
    for axis, pair in zip(above, found["model"], strict=True):
        axis.plot(distance, found["snapshots"][pair], "k", label="PBE0+TS, path integrals")
        axis.plot(distance, found["model"][pair], "C1--", label="model, classical nuclei")
        axis.set(title=f"{pair}", xlabel="r (Å)", ylabel="g(r)", xlim=(0.7, FARTHEST), ylim=(0, 4.0))
    above[0].legend(frameon=False, fontsize=7)
    nve, npt = read_csv(folder / "nve.csv"), read_csv(folder / "npt.csv")
    energy = (nve["total_energy_ev"] - nve["total_energy_ev"][0]) / n_atoms
    curves = [
        ("constant energy", "total energy (µeV/atom)", nve["time_fs"] / 1000, 1e6 * energy),
        ("constant energy", "temperature (K)", nve["time_fs"] / 1000, nve["temperature_k"]),
        (f"{TEMPERATURE:g} K, 1 bar", "volume (Å³)", npt["ps"], npt["angstrom3"]),
    ]
    for axis, (title, what, time, values) in zip(below, curves, strict=True):
        axis.plot(time, values, "C1")
        axis.set(title=title, xlabel="time (ps)", ylabel=what)
    save(figure, FIGURE)


def read_csv(path: Path) -> NDArray[np.void]:
    """Columns by name."""
    return np.genfromtxt(path, delimiter=",", names=True)


if __name__ == "__main__":
    script(main)
