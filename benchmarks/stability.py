"""How long molecular dynamics of acetylacetone stays whole: ten molecules at 300 K and ten at 600 K.

    python benchmarks/stability.py --picoseconds 50

trains benchmarks/configs/acac_S.yaml on frames of 300 K (as accuracy.py does), puts ten test frames 60 Å apart into one
structure, and runs Langevin dynamics of it at either temperature (0.5 fs, 1/ps). A molecule counts as broken when a
bond between heavy atoms, or from a hydrogen to the heavy atom nearest to it (the enol's changes its oxygen), is longer
than 1.5 times the sum of covalent radii. Writes results/stability.json and docs/figures/stability.png; runs/ keeps
the states, and a run that was broken off, or is asked to be longer, goes on.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from ase import Atoms
from ase.data import covalent_radii
from ase.io import iread
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console

from cace_qeq import CACEQEqCalculator
from cace_qeq.cli.md import MovingBar
from cace_qeq.simulation import DynamicsSettings, resume_dynamics, run_dynamics
from cace_qeq.structures import read_frames
from cace_qeq.training import load_config
from record import script, write_result
from variants.outcomes import trained

CONFIG = Path(__file__).parent / "configs" / "acac_S.yaml"
FIGURE = Path(__file__).parent.parent / "docs" / "figures" / "stability.png"
MOLECULES = 10
TEMPERATURES = (300.0, 600.0)  # K
APART = 60.0  # Å
BONDED, BROKEN = 1.25, 1.5  # times the sum of covalent radii
TIMESTEP, INTERVAL = 0.5, 100  # fs, and steps between frames

Array = NDArray[np.float64]


def main(picoseconds: Annotated[float, typer.Option(help="Of each molecule at each temperature.")] = 50.0) -> None:
    """Train, run, and look for broken bonds."""
    config = load_config(CONFIG)
    result: dict[str, Any] = {"errors": trained(config), "picoseconds": picoseconds}
    folder = config.training.output
    frames = read_frames(config.data.test[0])
    molecules = frames[:: len(frames) // MOLECULES][:MOLECULES]
    stretches = {}
    for temperature in TEMPERATURES:
        trajectory = folder / f"stability_{temperature:g}K.extxyz"
        summary = run(molecules, temperature, picoseconds, trajectory, folder / "model.safetensors")
        stretches[temperature] = stretch = np.array([longest_bonds(frame, molecules) for frame in iread(trajectory)])
        result[f"{temperature:g}K"] = {
            "dynamics": summary,
            "longest_bond_in_radii": stretch.max(axis=0).tolist(),
            "broken_after_picoseconds": [first_break(of_one) for of_one in stretch.T],
        }
    draw(stretches)
    Console().print(f"{write_result('stability', result)}, {FIGURE}")


def run(molecules: list[Atoms], temperature: float, picoseconds: float, path: Path, model: Path) -> dict[str, Any]:
    """All molecules in one structure, too far apart to feel each other."""
    shifts = APART * np.arange(len(molecules))[:, None] * [1.0, 0.0, 0.0]
    positions = [frame.positions + shift for frame, shift in zip(molecules, shifts, strict=True)]
    atoms = Atoms(np.concatenate([frame.numbers for frame in molecules]), np.concatenate(positions))
    atoms.calc = CACEQEqCalculator(model, dtype=torch.float32)
    settings = DynamicsSettings(
        n_steps=round(1000 * picoseconds / TIMESTEP),
        ensemble="nvt",
        timestep=TIMESTEP,
        temperature=temperature,
        friction=1.0,
        interval=INTERVAL,
    )
    with MovingBar(settings.n_steps, Console()) as bar:
        return asdict((resume_dynamics if path.exists() else run_dynamics)(atoms, settings, path, bar))


def longest_bonds(frame: Atoms, starts: list[Atoms]) -> list[float]:
    """The longest bond of each molecule, in sums of covalent radii."""
    parts = np.split(frame.positions, np.cumsum([len(start) for start in starts])[:-1])
    return [longest_bond(positions, start) for positions, start in zip(parts, starts, strict=True)]


def longest_bond(positions: Array, start: Atoms) -> float:
    now, then = lengths(positions, start.numbers), lengths(start.positions, start.numbers)
    heavy = start.numbers > 1
    bonds = now[np.ix_(heavy, heavy)][then[np.ix_(heavy, heavy)] < BONDED]
    return float(max(bonds.max(), now[np.ix_(~heavy, heavy)].min(axis=1).max()))


def lengths(positions: Array, numbers: NDArray[np.int64]) -> Array:
    """(atom, atom)  distances in sums of covalent radii, infinite on the diagonal"""
    radii = covalent_radii[numbers]
    distances = np.linalg.norm(positions[:, None] - positions, axis=2) / (radii[:, None] + radii)
    return np.where(np.eye(len(numbers), dtype=bool), np.inf, distances)


def first_break(stretch: Array) -> float | None:
    """ps, None while the molecule is whole"""
    broken = np.flatnonzero(stretch > BROKEN)
    return float(broken[0] * INTERVAL * TIMESTEP / 1000) if len(broken) else None


def draw(stretches: dict[float, Array]) -> None:
    figure = Figure(figsize=(8.0, 3.0), layout="constrained")
    for axis, (temperature, stretch) in zip(figure.subplots(1, 2, sharey=True), stretches.items(), strict=True):
        axis.plot(np.arange(len(stretch)) * INTERVAL * TIMESTEP / 1000, stretch, linewidth=0.5)
        axis.axhline(BROKEN, color="k", linestyle="--", linewidth=0.8)
        axis.set(title=f"{temperature:g} K", xlabel="time (ps)", ylabel="longest bond / covalent radii")
    figure.savefig(FIGURE, dpi=120)


if __name__ == "__main__":
    script(main)
