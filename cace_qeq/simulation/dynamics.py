"""Molecular dynamics that writes as it goes and can go on where it stopped."""

from pathlib import Path
from typing import Any, Protocol

import numpy as np
from ase import Atoms
from ase.md.md import MolecularDynamics

from cace_qeq.files import alone
from cace_qeq.simulation.integrators import barostat_state, integrator, reseed, restore_barostat
from cace_qeq.simulation.record import DynamicsSummary, Sample, read_log, row, sample, summarize, write_log
from cace_qeq.simulation.settings import DynamicsSettings
from cace_qeq.simulation.trajectory import (
    append,
    cut,
    frame_text,
    held,
    mark_of,
    named_as_xyz,
    tail,
    unwritten_constraints,
)
from cace_qeq.simulation.velocities import draw_velocities, free_motions, temperature_of
from cace_qeq.structures import MODEL, LabelKeys, total_charge_of, written_conditions

HIGHEST_TEMPERATURE = 1e5  # K, beyond which nothing is left that could go on
LARGEST_CHANGE = 1.0  # eV/atom, of an energy that should be constant
DRIVEN = ("temperature", "friction", "seed")  # by a Langevin bath


class Reporter(Protocol):
    """Receives the events of a run."""

    def began(self, step: int) -> None:
        """step  that the run starts from"""

    def stepped(self, step: int) -> None:
        """One step is done."""

    def sampled(self, one: Sample) -> None:
        """A frame and a row of the log are written."""


class Silent:
    """Says nothing."""

    def began(self, step: int) -> None: ...

    def stepped(self, step: int) -> None: ...

    def sampled(self, one: Sample) -> None: ...


def run_dynamics(
    atoms: Atoms, settings: DynamicsSettings, trajectory: str | Path, reporter: Reporter | None = None
) -> DynamicsSummary:
    """Move atoms, whose calculator is attached, in place.

    trajectory  new file, .extxyz or .xyz, for frames with momenta, forces, energies and charges; the log of
                samples lies beside it as .csv

    Structures that carry momenta keep them; others get thermal ones.

    Raises FileExistsError for a trajectory or log that is there already, BlockingIOError for one that another process
    writes, ValueError for settings that do not suit the structure, and FloatingPointError when the atoms fly apart.
    """
    trajectory = new_run(Path(trajectory))
    if not (atoms.get_masses() > 0).all():
        atom = int(np.argmin(atoms.get_masses() > 0))
        raise ValueError(f"atom {atom} has a mass of {atoms.get_masses()[atom]:g} u, expected a positive one.")
    if not atoms.get_momenta().any():
        draw_velocities(atoms, settings.temperature, settings.seed)
    run = Run(atoms, settings, trajectory, reporter or Silent())
    atoms.get_forces()
    with alone(trajectory):
        new_run(trajectory)
        run.record(0)
        return run.finish(0)


def resume_dynamics(
    atoms: Atoms, settings: DynamicsSettings, trajectory: str | Path, reporter: Reporter | None = None
) -> DynamicsSummary:
    """Go on from the last complete frame of a trajectory until settings.n_steps, as if it had never stopped.

    Iterative solvers begin without the charges of the step before, so that with them forces agree to their tolerance
    and not to the last digit.

    atoms  the structure that the run began with, its calculator attached; moved in place

    Raises FileNotFoundError without a trajectory, BlockingIOError for one that another process writes, and ValueError
    for one of another structure, total charge, conditions on charges, constraints, model, ensemble, bath or time step,
    of a longer run, or damaged.
    """
    trajectory = begun_run(Path(trajectory))
    with alone(trajectory):
        return go_on(atoms, settings, trajectory, reporter or Silent())


def go_on(atoms: Atoms, settings: DynamicsSettings, trajectory: Path, reporter: Reporter) -> DynamicsSummary:
    """As `resume_dynamics`, of a trajectory that nobody else writes."""
    log = log_of(trajectory)
    samples = read_log(log)
    last = tail(trajectory, {one.step for one in samples})
    refuse_another_run(atoms, last.atoms, settings, trajectory)
    if settings.n_steps < last.newest_step:
        raise ValueError(
            f"{trajectory} has come to step {last.newest_step}, beyond the {settings.n_steps} steps of the whole run; "
            "give its new length, as many or more."
        )
    atoms.set_cell(last.atoms.cell)
    atoms.positions = last.atoms.positions
    atoms.set_momenta(last.atoms.get_momenta(), apply_constraint=False)
    step = int(last.atoms.info["step"])
    run = Run(atoms, settings, trajectory, reporter)
    run.samples = [one for one in samples if one.step <= step]
    if len(run.samples) != last.n_frames:
        raise ValueError(
            f"{log} has {len(run.samples)} rows up to step {step}, of which {trajectory} has {last.n_frames} frames, "
            "expected as many; start a new run."
        )
    run.restore(last.atoms.info)
    cut(trajectory, last.end)
    write_log(log, run.samples)
    return run.finish(step)


def new_run(trajectory: Path) -> Path:
    """Raise FileExistsError for a trajectory or log that is there already, ValueError for another format's name."""
    for path in (named_as_xyz(trajectory), log_of(trajectory)):
        if path.exists():
            raise FileExistsError(f"{path} exists already; resume it, or choose another name.")
    return trajectory


def begun_run(trajectory: Path) -> Path:
    """Raise FileNotFoundError without a trajectory and its log, ValueError for another format's name."""
    for path in (named_as_xyz(trajectory), log_of(trajectory)):
        if not path.is_file():
            raise FileNotFoundError(f"there is no {path} to resume; start a new run.")
    return trajectory


class Run:
    """Atoms in motion, with what has been recorded of them."""

    def __init__(self, atoms: Atoms, settings: DynamicsSettings, trajectory: Path, reporter: Reporter):
        self.atoms = atoms
        self.settings = settings
        self.trajectory = trajectory
        self.reporter = reporter
        self.samples: list[Sample] = []
        self.free_motions = free_motions(atoms, settings.ensemble)
        self.mark = mark_of(atoms)
        self.noise = np.random.default_rng(settings.seed)
        self.dynamics: MolecularDynamics = integrator(atoms, settings, self.noise)

    def restore(self, info: dict[str, Any]) -> None:
        """Take over what a frame says beside positions and momenta."""
        self.free_motions = int(info["free_motions"])
        if "barostat" in info:
            restore_barostat(self.dynamics, info["barostat"])

    def finish(self, step: int) -> DynamicsSummary:
        """Make the steps after this one."""
        reseed(self.noise, self.settings.seed, step)
        self.reporter.began(step)
        for current in range(step + 1, self.settings.n_steps + 1):
            self.dynamics.step()  # type: ignore[attr-defined]
            if current % self.settings.interval == 0 or current == self.settings.n_steps:
                self.record(current)
            if current % self.settings.interval == 0:
                reseed(self.noise, self.settings.seed, current)
            self.reporter.stepped(current)
        return summarize(self.samples, len(self.atoms), self.settings.ensemble)

    def record(self, step: int) -> None:
        """A row of the log, then the frame: the log knows every step that the trajectory has."""
        time = step * self.settings.timestep
        temperature = temperature_of(self.atoms, self.settings.ensemble, self.free_motions)
        one = sample(self.atoms, step, time, temperature)
        self.refuse_blast(one)
        info: dict[str, Any] = {
            "step": step,
            "time_fs": time,
            "interval": self.settings.interval,
            "temperature": temperature,
            "free_motions": self.free_motions,
            "ensemble": ensemble_of(self.settings),
            **self.mark,
        }
        if constraints := unwritten_constraints(self.atoms):
            info["constraints"] = constraints
        if bath := bath_of(self.settings):
            info["bath"] = bath
        barostat = barostat_state(self.dynamics)
        if barostat is not None:
            info["barostat"] = barostat
        if not self.samples:
            write_log(log_of(self.trajectory), [])
        append(log_of(self.trajectory), row(one))
        append(self.trajectory, frame_text(self.atoms, info))
        self.samples.append(one)
        self.reporter.sampled(one)

    def refuse_blast(self, one: Sample) -> None:
        """Raise FloatingPointError where atoms fly apart: nothing that follows would mean anything."""
        change = abs(one.total_energy - (self.samples or [one])[0].total_energy) / len(self.atoms)
        if not one.temperature < HIGHEST_TEMPERATURE:
            what = f"the temperature is {one.temperature:.3g} K"
        elif self.settings.ensemble == "nve" and not change < LARGEST_CHANGE:
            what = f"the total energy, which should be constant, has changed by {change:.3g} eV per atom"
        else:
            return
        written = f"{self.trajectory} ends before." if self.samples else "Nothing is written."
        raise FloatingPointError(
            f"at step {one.step} {what}: the atoms fly apart; take a shorter time step, a relaxed structure or a model "
            f"that knows such structures. {written}"
        )


def log_of(trajectory: Path) -> Path:
    return trajectory.with_suffix(".csv")


def ensemble_of(settings: DynamicsSettings) -> str:
    """What a run cannot change on the way."""
    return f"npt_{settings.cell}" if settings.ensemble == "npt" else settings.ensemble


def bath_of(settings: DynamicsSettings) -> str:
    """What drives a run besides its model, which it cannot change either; nothing at constant energy."""
    names = {"nve": (), "nvt": DRIVEN, "npt": (*DRIVEN, "pressure", "barostat_time")}[settings.ensemble]
    return ", ".join(f"{name} {getattr(settings, name)}" for name in names)


def stated_charge(atoms: Atoms) -> float:
    """e; zero where nothing is stated, NaN where electrodes decide"""
    return total_charge_of(atoms, LabelKeys(), default=0.0)


def same_conditions(one: Atoms, other: Atoms) -> bool:
    """Files forget the shape of a single row."""
    first, second = written_conditions(one), written_conditions(other)
    return first.keys() == second.keys() and all(
        np.array_equal(np.ravel(first[key]), np.ravel(second[key])) for key in first
    )


def refuse_another_run(atoms: Atoms, frame: Atoms, settings: DynamicsSettings, trajectory: Path) -> None:
    """Raise ValueError unless the frame can be a later state of the atoms under these settings."""
    if len(frame) != len(atoms) or (frame.numbers != atoms.numbers).any() or (frame.pbc != atoms.pbc).any():
        raise ValueError(
            f"{trajectory} holds {frame.symbols}, not the given {atoms.symbols} with the same order of atoms "
            "and periodicity; resume with the structure that it began with."
        )
    if not np.allclose(frame.get_masses(), atoms.get_masses(), rtol=1e-12, atol=0.0):
        raise ValueError(f"{trajectory} was run with other masses; give the structure that it began with.")
    told = [frame.info.get(name) for name in ("step", "time_fs", "free_motions")]
    if not all(isinstance(number, int | float | np.number) for number in told) or not frame.has("momenta"):
        raise ValueError(f"{trajectory} was not written by this program and lacks what a run resumes from.")
    then, now = stated_charge(frame), stated_charge(atoms)
    if not np.array_equal(then, now, equal_nan=True):
        raise ValueError(f"{trajectory} was run with a total charge of {then:g} e, not {now:g} e; give the same.")
    if not same_conditions(frame, atoms):
        raise ValueError(
            f"{trajectory} was run under {written_conditions(frame) or 'no conditions on charges'}, not "
            f"{written_conditions(atoms) or 'none'}; give the same."
        )
    if not np.array_equal(held(frame), held(atoms)):
        raise ValueError(f"{trajectory} was run with other atoms held; give the structure that it began with.")
    if frame.info.get(MODEL) != mark_of(atoms).get(MODEL):
        raise ValueError(f"{trajectory} was run with another model; give the same, or start a new run.")
    constraints, given = frame.info.get("constraints", ""), unwritten_constraints(atoms)
    if constraints != given:
        raise ValueError(
            f"{trajectory} was run under {constraints or 'no other constraints'}, not {given or 'none'}; give the same."
        )
    before = frame.info.get("ensemble", ensemble_of(settings))
    if before != ensemble_of(settings):
        raise ValueError(
            f"{trajectory} was run as {before}, not {ensemble_of(settings)}; give the same, or start a new run from "
            "its last frame."
        )
    bath = frame.info.get("bath", bath_of(settings))
    if bath != bath_of(settings):
        raise ValueError(
            f"{trajectory} was run with {bath}, not {bath_of(settings)}; give the same, or start a new run from its "
            "last frame."
        )
    if abs(frame.info["time_fs"] - frame.info["step"] * settings.timestep) > 1e-6:
        raise ValueError(
            f"{trajectory} took {frame.info['time_fs']:g} fs for {frame.info['step']} steps, not steps of "
            f"{settings.timestep:g} fs; give the same."
        )
