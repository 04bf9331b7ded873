"""Relaxation and dynamics of both silver ions from one and the same start."""

from contextlib import AbstractContextManager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import torch

from cace_qeq.calculator import CACEQEqCalculator
from cace_qeq.files import write_atomically
from cace_qeq.model import CACEQEq
from cace_qeq.quickstart.plan import RELAXATION, Plan, bent_trimer
from cace_qeq.quickstart.results import Ion, Motion
from cace_qeq.quickstart.shapes import Shape, middle_atom, shape_of, widest_angle
from cace_qeq.simulation import DynamicsSettings, Reporter, relax, run_dynamics
from cace_qeq.structures import Atoms, read_frames

TOTAL_CHARGES = (1, -1)
FILES = ("relaxed.extxyz", "md.extxyz")


class DynamicsWatcher(Protocol):
    """Is told of the dynamics."""

    def dynamics(self, title: str, n_steps: int) -> AbstractContextManager[Reporter]:
        """A run is about to begin; its events go to what this gives."""


def simulate_ions(model: CACEQEq, plan: Plan, watcher: DynamicsWatcher) -> tuple[Ion, ...]:
    """Relax and move both ions; each of FILES holds the frames of the positive one first."""
    with TemporaryDirectory(dir=plan.out, prefix=".simulations-") as temporary:
        folders = [Path(temporary) / f"{charge:+d}" for charge in TOTAL_CHARGES]
        ions = tuple(
            simulate_ion(charge, model, plan.dynamics, folder, watcher)
            for charge, folder in zip(TOTAL_CHARGES, folders, strict=True)
        )
        for name in FILES:
            write_atomically(plan.out / name, b"".join((folder / name).read_bytes() for folder in folders))
    return ions


def simulate_ion(
    total_charge: int, model: CACEQEq, settings: DynamicsSettings, folder: Path, watcher: DynamicsWatcher
) -> Ion:
    """Relax and move one ion; FILES appear in the folder."""
    start, relaxed = relaxed_ion(with_model(total_charge, model), folder / FILES[0])
    title = f"Ag3 with total charge {total_charge:+d}: {settings.n_steps * settings.timestep / 1000:g} ps, NVE"
    with watcher.dynamics(title, settings.n_steps) as reporter:
        motion = moved_ion(with_model(total_charge, model), settings, folder / FILES[1], reporter)
    return Ion(total_charge, start, relaxed, motion)


def with_model(total_charge: int, model: CACEQEq) -> Atoms:
    """The start of everything, ready to be simulated in double precision."""
    atoms = bent_trimer(total_charge)
    atoms.calc = CACEQEqCalculator(model, dtype=torch.float64)
    return atoms


def relaxed_ion(atoms: Atoms, path: Path) -> tuple[Shape, Shape]:
    """The shapes before and after."""
    path.parent.mkdir(parents=True, exist_ok=True)
    start = shape_of(atoms)
    relax(atoms, RELAXATION, path)
    return start, shape_of(atoms)


def moved_ion(atoms: Atoms, settings: DynamicsSettings, path: Path, reporter: Reporter) -> Motion:
    summary = run_dynamics(atoms, settings, path, reporter)
    frames = read_frames(path)
    return Motion(
        tuple(float(frame.info["time_fs"]) for frame in frames),
        tuple(widest_angle(frame.positions) for frame in frames),
        tuple(float(frame.get_charges()[middle_atom(frame.positions)]) for frame in frames),
        summary,
    )
