"""How long molecular dynamics of acetylacetone stays whole: ten molecules at 300 K and ten at 600 K.

    python benchmarks/stability.py acac_S --picoseconds 50

trains benchmarks/configs/acac_S.yaml on frames of 300 K (as accuracy.py does), puts ten test frames 60 Å apart into one
structure, and runs Langevin dynamics of it at either temperature (1/ps). A molecule counts as broken when a
bond between heavy atoms, or from a hydrogen to the heavy atom nearest to it (the enol's changes its oxygen), is longer
than 1.5 times the sum of covalent radii, or when two of its atoms are nearer than 0.6 times theirs. When the atoms of
one fly apart, the others go on from the frame before. Writes results/stability_acac_S.json and
docs/figures/stability_acac_S.png; runs/ keeps the states, and a run that was broken off, or is asked to be longer, goes
on.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.data import covalent_radii
from ase.io import iread
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console

from cace_qeq import CACEQEqCalculator
from cace_qeq.cli.md import MovingBar
from cace_qeq.plots import save
from cace_qeq.simulation import DynamicsSettings, resume_dynamics, run_dynamics
from cace_qeq.structures import read_frames
from cace_qeq.training import load_config
from record import script, write_result
from variants.outcomes import trained

CONFIGS = Path(__file__).parent / "configs"
FIGURES = Path(__file__).parent.parent / "docs" / "figures"
MOLECULES = 10
TEMPERATURES = (300.0, 600.0)  # K
APART = 60.0  # Å
BONDED, BROKEN, COLLAPSED = 1.25, 1.5, 0.6  # times the sum of covalent radii
FRAME = 0.05  # ps, between two that are looked at

Array = NDArray[np.float64]


def main(
    name: Annotated[str, typer.Argument(help="Of a configuration of acetylacetone.")] = "acac_S",
    picoseconds: Annotated[float, typer.Option(help="Of each molecule at each temperature.")] = 50.0,
    timestep: Annotated[float, typer.Option(help="fs")] = 0.5,
) -> None:
    """Train, run, and look for broken bonds."""
    config = load_config(CONFIGS / f"{name}.yaml")
    result: dict[str, Any] = {"errors": trained(config), "picoseconds": picoseconds, "timestep": timestep}
    folder = config.training.output
    frames = read_frames(config.data.test[0])
    molecules = frames[:: len(frames) // MOLECULES][:MOLECULES]
    calculator = CACEQEqCalculator(folder / "model.safetensors", dtype=torch.float32, compiled=True)
    lives = {}
    for temperature in TEMPERATURES:
        path = folder / f"stability_{temperature:g}K.extxyz"
        settings = langevin(temperature, timestep, picoseconds)
        runs, lives[temperature] = run_survivors(molecules, calculator, settings, path)
        breaks = [first_break(life) for life in lives[temperature]]
        result[f"{temperature:g}K"] = {
            "runs": runs,
            "longest_bond_in_radii": [float(np.nanmax(life[:, 0])) for life in lives[temperature]],
            "shortest_distance_in_radii": [float(np.nanmin(life[:, 1])) for life in lives[temperature]],
            "broken_after_picoseconds": breaks,
            "longest_picoseconds": max(picoseconds if time is None else time for time in breaks),
        }
    figure = FIGURES / f"stability_{name}.png"
    draw(lives, figure)
    Console().print(f"{write_result(f'stability_{name}', result)}, {figure}")


def langevin(temperature: float, timestep: float, picoseconds: float) -> DynamicsSettings:
    """With a frame every `FRAME`."""
    return DynamicsSettings(
        n_steps=round(1000 * picoseconds / timestep),
        ensemble="nvt",
        timestep=timestep,
        temperature=temperature,
        friction=1.0,
        interval=round(1000 * FRAME / timestep),
    )


def run_survivors(
    molecules: list[Atoms], calculator: Calculator, settings: DynamicsSettings, path: Path
) -> tuple[list[dict[str, Any]], list[Array]]:
    """Dynamics of all; when the atoms of one fly apart, of the others from the frame before.

    returns  what each run came to, and `extremes_of` each molecule (frame, 2), the last NaN if it has flown apart
    """
    lives: list[list[tuple[float, float]]] = [[] for _ in molecules]
    here, runs, atoms = list(range(len(molecules))), [], far_apart(molecules)
    while here:
        starts = [molecules[one] for one in here]
        atoms.calc = calculator
        n_steps = settings.n_steps - len(lives[here[0]]) * settings.interval
        runs.append(run(atoms, settings.model_copy(update={"n_steps": n_steps}), path))
        for frame in iread(path):
            for one, pair in zip(here, split(frame, starts), strict=True):
                lives[one].append(extremes_of(*pair))
        if "stopped" not in runs[-1]:
            break
        worst = int(np.argmax([extremes_of(*pair)[0] for pair in split(atoms, starts)]))  # or the first of NaN
        lives[here.pop(worst)].append((np.nan, np.nan))
        for one in here:
            lives[one].pop()  # the next run begins with this frame
        of_worst = np.repeat(np.arange(len(starts)) == worst, [len(start) for start in starts])
        atoms = frame[~of_worst]
        path = path.with_stem(f"{path.stem}_then")
    return runs, [np.array(life) for life in lives]


def far_apart(molecules: list[Atoms]) -> Atoms:
    """All molecules in one structure, too far apart to feel each other."""
    shifts = APART * np.arange(len(molecules))[:, None] * [1.0, 0.0, 0.0]
    positions = [frame.positions + shift for frame, shift in zip(molecules, shifts, strict=True)]
    return Atoms(np.concatenate([frame.numbers for frame in molecules]), np.concatenate(positions))


def run(atoms: Atoms, settings: DynamicsSettings, path: Path) -> dict[str, Any]:
    """Dynamics, begun or gone on with; what stopped it if something did."""
    with MovingBar(settings.n_steps, Console()) as bar:
        try:
            return asdict((resume_dynamics if path.exists() else run_dynamics)(atoms, settings, path, bar))
        except FloatingPointError as error:
            return {"stopped": str(error)}


def split(frame: Atoms, starts: list[Atoms]) -> list[tuple[Array, Atoms]]:
    """Positions of each molecule, and the molecule that it was."""
    parts = np.split(frame.positions, np.cumsum([len(start) for start in starts])[:-1])
    return list(zip(parts, starts, strict=True))


def extremes_of(positions: Array, start: Atoms) -> tuple[float, float]:
    """The longest bond of a molecule and the shortest distance in it, in sums of covalent radii."""
    now, then = lengths(positions, start.numbers), lengths(start.positions, start.numbers)
    heavy = start.numbers > 1
    bonds = now[np.ix_(heavy, heavy)][then[np.ix_(heavy, heavy)] < BONDED]
    hydrogens = now[np.ix_(~heavy, heavy)].min(axis=1)
    return float(np.concatenate([bonds, hydrogens]).max()), float(now.min())


def lengths(positions: Array, numbers: NDArray[np.int64]) -> Array:
    """(atom, atom)  distances in sums of covalent radii, infinite on the diagonal"""
    radii = covalent_radii[numbers]
    distances = np.linalg.norm(positions[:, None] - positions, axis=2) / (radii[:, None] + radii)
    return np.where(np.eye(len(numbers), dtype=bool), np.inf, distances)


def first_break(extremes: Array) -> float | None:
    """ps, None while the molecule is whole

    extremes  (frame, 2)  as `extremes_of`
    """
    broken = np.flatnonzero([not whole(*each) for each in extremes])
    return float(broken[0] * FRAME) if len(broken) else None


def whole(longest: float, shortest: float) -> bool:
    """Whether a molecule is, from its `extremes_of`; not if they are NaN."""
    return longest <= BROKEN and shortest >= COLLAPSED


def draw(lives: dict[float, list[Array]], path: Path) -> None:
    """The longest bond of every molecule, by temperature.

    lives  (frame, 2)  of each molecule as `extremes_of`, of any length
    """
    figure = Figure(figsize=(8.0, 3.0), layout="constrained")
    for axis, (temperature, each) in zip(figure.subplots(1, 2, sharey=True), lives.items(), strict=True):
        for life in each:
            axis.plot(np.arange(len(life)) * FRAME, life[:, 0], linewidth=0.5)
        axis.axhline(BROKEN, color="k", linestyle="--", linewidth=0.8)
        axis.set(title=f"{temperature:g} K", xlabel="time (ps)", ylabel="longest bond / covalent radii")
    save(figure, path)


if __name__ == "__main__":
    script(main)
