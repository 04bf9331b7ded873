"""`cace-qeq md`."""

import math
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from cace_qeq.cli.progress import Live
from cace_qeq.cli.structure import (
    ChargeOption,
    CompileOption,
    DeviceOption,
    FrameOption,
    ModelArgument,
    PrecisionOption,
    SolverOption,
    Start,
    StructureArgument,
    solver_of,
)
from cace_qeq.simulation import (
    DynamicsSettings,
    DynamicsSummary,
    Sample,
    begun_run,
    log_of,
    new_run,
    resume_dynamics,
    run_dynamics,
)
from cace_qeq.structures import Atoms

DEFAULTS = DynamicsSettings(n_steps=0)
PICOSECONDS = 1.0  # if neither --steps nor --picoseconds is given

OutOption = Annotated[Path, typer.Option(help="Trajectory, extended XYZ; its log lies beside it as .csv.")]
EnsembleOption = Annotated[
    Literal["nve", "nvt", "npt"], typer.Option(help="Constant energy, Langevin bath, bath and pressure.")
]
PicosecondsOption = Annotated[
    float | None, typer.Option(help=f"Length of the run, {PICOSECONDS:g} by default.", show_default=False)
]
StepsOption = Annotated[int | None, typer.Option(help="Length of the run in steps.", show_default=False)]
TemperatureOption = Annotated[
    float, typer.Option(help="K, of the bath and of the velocities of a structure that has none.")
]
PressureOption = Annotated[float, typer.Option(help="bar, npt.")]
TimestepOption = Annotated[float, typer.Option(help="fs.")]
FrictionOption = Annotated[float, typer.Option(help="1/ps, of the bath.")]
BarostatOption = Annotated[float, typer.Option(help="fs, on which the volume follows the pressure.")]
CellOption = Annotated[Literal["isotropic", "flexible"], typer.Option(help="What npt changes of the cell.")]
IntervalOption = Annotated[int, typer.Option(help="Steps between frames.")]
SeedOption = Annotated[int, typer.Option(help="Of the velocities and the bath.")]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on from the last frame of --out.")]

ROWS = {
    "energy_drift": ("energy drift", "eV/atom/ps", ".2e"),
    "energy_fluctuation": ("energy fluctuation", "eV/atom", ".2e"),
    "temperature": ("temperature", "K", ".1f"),
    "temperature_spread": ("its standard deviation", "K", ".1f"),
    "volume": ("volume", "Å³", ".2f"),
    "pressure": ("pressure", "bar", ".0f"),
}


def md(
    model: ModelArgument,
    structure: StructureArgument,
    out: OutOption = Path("md.extxyz"),
    ensemble: EnsembleOption = DEFAULTS.ensemble,
    picoseconds: PicosecondsOption = None,
    steps: StepsOption = None,
    temperature: TemperatureOption = DEFAULTS.temperature,
    pressure: PressureOption = DEFAULTS.pressure,
    timestep: TimestepOption = DEFAULTS.timestep,
    friction: FrictionOption = DEFAULTS.friction,
    barostat_time: BarostatOption = DEFAULTS.barostat_time,
    cell: CellOption = DEFAULTS.cell,
    interval: IntervalOption = DEFAULTS.interval,
    seed: SeedOption = DEFAULTS.seed,
    charge: ChargeOption = None,
    frame: FrameOption = -1,
    resume: ResumeOption = False,
    device: DeviceOption = "cpu",
    dtype: PrecisionOption = "float64",
    compiled: CompileOption = False,
    solver: SolverOption = "auto",
) -> None:
    """Run molecular dynamics with a trained model; write frames with charges, forces and energies."""
    settings = DynamicsSettings(
        n_steps=length(picoseconds, steps, timestep),
        ensemble=ensemble,
        timestep=timestep,
        temperature=temperature,
        pressure=pressure,
        friction=friction,
        barostat_time=barostat_time,
        cell=cell,
        interval=interval,
        seed=seed,
    )
    suitable = begun_run if resume else new_run
    suitable(out)  # before a model is read, and code generated for it
    atoms = Start(model, structure, frame, charge, device, dtype, compiled, solver_of(solver)).atoms()
    console = Console(markup=False)
    origin = f"resumed from {out}" if resume else velocities(atoms, settings)
    console.print(f"{heading(atoms, settings)}, {origin}.", highlight=False, soft_wrap=True)
    run = resume_dynamics if resume else run_dynamics
    try:
        with MovingBar(settings.n_steps, console) as bar:
            summary = run(atoms, settings, out, bar)
    except KeyboardInterrupt:
        there = f"{out} ends with the last frame. Give --resume to go on."
        console.print(f"Interrupted; {there if out.exists() else 'nothing is written.'}", soft_wrap=True)
        raise typer.Exit(130) from None
    console.print(summary_table(summary))
    console.print(f"Trajectory: {out}. Log: {log_of(out)}.", highlight=False, soft_wrap=True)


def length(picoseconds: float | None, steps: int | None, timestep: float) -> int:
    """Steps of the run.

    Raises ValueError if it is given twice, or in picoseconds without a time step.
    """
    if picoseconds is not None and steps is not None:
        raise ValueError("--steps and --picoseconds both say how long the run is; give one.")
    if steps is not None:
        return steps
    if not timestep > 0:
        raise ValueError(f"--timestep is {timestep:g} fs, expected more than zero.")
    length = PICOSECONDS if picoseconds is None else picoseconds
    if not math.isfinite(length / timestep):
        raise ValueError(f"--picoseconds is {length:g}, expected a finite number.")
    return round(length * 1000 / timestep)


def heading(atoms: Atoms, settings: DynamicsSettings) -> str:
    """What is about to run."""
    bath = "" if settings.ensemble == "nve" else f" at {settings.temperature:g} K"
    bath += f" and {settings.pressure:g} bar" if settings.ensemble == "npt" else ""
    charge = atoms.calc.total_charge(atoms)
    total = (
        "charge from electrodes" if math.isnan(charge) else f"total charge {format(charge, '+g') if charge else 0} e"
    )
    return (
        f"{atoms.get_chemical_formula()} ({len(atoms)} atoms, {total}), "
        f"{settings.ensemble.upper()}{bath}, {settings.n_steps} steps of {settings.timestep:g} fs"
    )


def velocities(atoms: Atoms, settings: DynamicsSettings) -> str:
    """Where the motion of a new run comes from."""
    if atoms.get_momenta().any():
        return "with the velocities of the structure"
    return f"with velocities drawn at {settings.temperature:g} K, seed {settings.seed}"


class MovingBar(Live):
    """A progress bar with the time left, and the last sample behind it."""

    def __init__(self, n_steps: int, console: Console):
        self.progress = Progress(
            TextColumn("steps"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left"),
            TimeRemainingColumn(), TextColumn("{task.description}"), console=console,
        )  # fmt: skip
        self.task = self.progress.add_task("", total=n_steps)

    def began(self, step: int) -> None:
        self.progress.reset(self.task, completed=step)

    def stepped(self, step: int) -> None:
        self.progress.update(self.task, completed=step)

    def sampled(self, one: Sample) -> None:
        text = f"{one.temperature:.0f} K  {one.total_energy:.4f} eV"
        self.progress.update(self.task, description=text)


def summary_table(summary: DynamicsSummary) -> Table:
    """The means of a run; what has no meaning for it is left out."""
    table = Table(title=f"{summary.n_steps} steps, {summary.time:g} ps")
    for column in ("quantity", "value", "unit"):
        table.add_column(column, justify="right" if column == "value" else "left")
    for name, (title, unit, style) in ROWS.items():
        value = getattr(summary, name)
        if not math.isnan(value):
            table.add_row(title, format(value, style), unit)
    return table
