"""To the nearest minimum of the energy, with or without the cell."""

import warnings
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from ase import Atoms, units
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS, FIRE, LBFGS

from cace_qeq.files import alone, refuse_unwritable, write_atomically
from cace_qeq.simulation.integrators import refuse_charges_left_behind
from cace_qeq.simulation.settings import RelaxationSettings
from cace_qeq.simulation.trajectory import append, frame_text, mark_of, named_as_xyz

OPTIMIZERS = {"bfgs": BFGS, "lbfgs": LBFGS, "fire": FIRE}


@dataclass(frozen=True)
class Relaxation:
    """How a search for a minimum ended.

    converged
    n_steps         that were made
    energy          eV
    energy_change   eV     since the start
    largest_force   eV/Å   on an atom
    largest_stress  bar    component of the stress beside the pressure; NaN with a fixed cell
    """

    converged: bool
    n_steps: int
    energy: float
    energy_change: float
    largest_force: float
    largest_stress: float


class RelaxationReporter(Protocol):
    """Receives every step of a search."""

    def __call__(self, step: int, energy: float, largest_force: float) -> None:
        """energy eV, largest_force eV/Å on an atom"""


def unheard(step: int, energy: float, largest_force: float) -> None:
    """Nobody is told."""


def relax(
    atoms: Atoms,
    settings: RelaxationSettings,
    path: str | Path,
    reporter: RelaxationReporter = unheard,
    trajectory: str | Path | None = None,
) -> Relaxation:
    """Relax atoms, whose calculator is attached, in place, and write the last structure with its charges.

    path        new file, .extxyz or .xyz; written also where the search gave up, failed or was interrupted
    trajectory  new file of the same kind, which receives every step

    Raises FileExistsError for a file that is there already, OSError for one that cannot be written or that another
    process writes, and ValueError for a cell to be relaxed that is not periodic in three directions or holds external
    charges.
    """
    path, steps = new_files(path, trajectory)
    with ExitStack() as held:
        for file in filter(None, (path, steps)):
            held.enter_context(alone(file))
        new_files(path, steps)
        return relax_alone(atoms, settings, path, reporter, steps)


def relax_alone(
    atoms: Atoms, settings: RelaxationSettings, path: Path, reporter: RelaxationReporter, steps: Path | None
) -> Relaxation:
    """As `relax`, into files that are known to be new and that nobody else writes."""
    before = float(atoms.get_potential_energy())
    search = OPTIMIZERS[settings.optimizer](degrees_of_freedom(atoms, settings), logfile=None)
    search.attach(lambda: reporter(search.nsteps, float(atoms.get_potential_energy()), largest_force(atoms)))
    if steps is not None:
        search.attach(keep_step, 1, steps, atoms, search, mark_of(atoms))
    converged = False
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "logm result may be inaccurate")  # by 1e-12, of ASE's filter in each step
            converged = bool(search.run(fmax=settings.largest_force, steps=settings.n_steps))
    finally:
        write_structure(path, atoms, converged)
    after = float(atoms.get_potential_energy())
    stress = largest_stress(atoms, settings)
    return Relaxation(converged, search.nsteps, after, after - before, largest_force(atoms), stress)


def new_files(path: str | Path, trajectory: str | Path | None) -> tuple[Path, Path | None]:
    """Raise ValueError where both are one, and as `new_xyz`."""
    if trajectory is not None and Path(path).resolve() == Path(trajectory).resolve():
        raise ValueError(f"{path} cannot hold both the relaxed structure and the trajectory; give two names.")
    return new_xyz(Path(path)), None if trajectory is None else new_xyz(Path(trajectory))


def new_xyz(path: Path) -> Path:
    """Raise FileExistsError for a file that is there, ValueError for another format, OSError where none can be."""
    if named_as_xyz(path).exists():
        raise FileExistsError(f"{path} exists already; choose another name.")
    refuse_unwritable(path)
    return path


def keep_step(path: Path, atoms: Atoms, search: Any, mark: dict[str, str]) -> None:
    append(path, frame_text(atoms, {"step": search.nsteps, **mark}))


def write_structure(path: Path, atoms: Atoms, converged: bool) -> None:
    """At rest: the momenta of a structure that moved say nothing of its minimum."""
    atoms.set_momenta(np.zeros((len(atoms), 3)))
    del atoms.arrays["momenta"]
    write_atomically(path, frame_text(atoms, {"converged": converged, **mark_of(atoms)}).encode())


def degrees_of_freedom(atoms: Atoms, settings: RelaxationSettings) -> Any:
    """What the optimizer moves: atoms, or atoms and the logarithm of the cell's deformation."""
    if settings.cell == "fixed":
        return atoms
    if not atoms.pbc.all():
        raise ValueError(
            "only a cell that is periodic in three directions can be relaxed, "
            f'got pbc = {atoms.pbc.tolist()}; give such a structure, or keep the cell "fixed".'
        )
    refuse_charges_left_behind(atoms)
    return FrechetCellFilter(atoms, scalar_pressure=settings.pressure * units.bar)


def largest_force(atoms: Atoms) -> float:
    """eV/Å"""
    return float(np.linalg.norm(atoms.get_forces(), axis=1).max())


def largest_stress(atoms: Atoms, settings: RelaxationSettings) -> float:
    """bar"""
    if settings.cell == "fixed":
        return np.nan
    excess = atoms.get_stress(voigt=False) / units.bar + settings.pressure * np.eye(3)
    return float(np.abs(excess).max())
