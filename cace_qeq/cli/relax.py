"""`cace-qeq relax`."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

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
from cace_qeq.simulation import Relaxation, RelaxationSettings, new_files
from cace_qeq.simulation import relax as relaxed

DEFAULTS = RelaxationSettings()

OutOption = Annotated[Path, typer.Option(help="The relaxed structure, extended XYZ.")]
TrajectoryOption = Annotated[
    Path | None, typer.Option(help="Every step of the search, extended XYZ.", show_default=False)
]
ForceOption = Annotated[float, typer.Option("--fmax", help="eV/Å, the largest force that may remain.")]
StepsOption = Annotated[int, typer.Option(help="After which the search gives up.")]
OptimizerOption = Annotated[Literal["bfgs", "lbfgs", "fire"], typer.Option(help="How to search.")]
CellOption = Annotated[bool, typer.Option("--cell", help="Relax the cell too.")]
PressureOption = Annotated[float, typer.Option(help="bar, with --cell.")]


def relax(
    model: ModelArgument,
    structure: StructureArgument,
    out: OutOption = Path("relaxed.extxyz"),
    trajectory: TrajectoryOption = None,
    fmax: ForceOption = DEFAULTS.largest_force,
    steps: StepsOption = DEFAULTS.n_steps,
    optimizer: OptimizerOption = DEFAULTS.optimizer,
    cell: CellOption = False,
    pressure: PressureOption = DEFAULTS.pressure,
    charge: ChargeOption = None,
    frame: FrameOption = -1,
    device: DeviceOption = "cpu",
    dtype: PrecisionOption = "float64",
    compiled: CompileOption = False,
    solver: SolverOption = "auto",
) -> None:
    """Relax a structure, and with --cell its cell, to the nearest minimum of the energy.

    Exit code 1 if forces remain that are larger than --fmax.
    """
    settings = RelaxationSettings(
        largest_force=fmax,
        n_steps=steps,
        optimizer=optimizer,
        cell="relaxed" if cell else "fixed",
        pressure=pressure,
    )
    new_files(out, trajectory)  # before a model is read, and code generated for it
    atoms = Start(model, structure, frame, charge, device, dtype, compiled, solver_of(solver)).atoms()
    console = Console(markup=False)
    try:
        with console.status("relaxing") as status:
            result = relaxed(atoms, settings, out, lambda *state: status.update(progress_line(*state)), trajectory)
    except KeyboardInterrupt:
        told = f"{out} holds the last structure." if out.exists() else "nothing is written."
        console.print(f"Interrupted; {told}", soft_wrap=True)
        raise typer.Exit(130) from None
    console.print(verdict(result, settings), highlight=False, soft_wrap=True)
    console.print(f"Structure: {out}.", highlight=False, soft_wrap=True)
    if not result.converged:
        raise typer.Exit(1)


def progress_line(step: int, energy: float, largest_force: float) -> str:
    return f"step {step}: {energy:.6f} eV, largest force {largest_force:.4f} eV/Å"


def verdict(result: Relaxation, settings: RelaxationSettings) -> str:
    """How it ended, in a sentence."""
    how = "Converged" if result.converged else "Not converged"
    stress = f", largest stress {result.largest_stress:.0f} bar" if settings.cell == "relaxed" else ""
    return (
        f"{how} after {result.n_steps} steps: energy {result.energy:.6f} eV ({result.energy_change:+.6f}), "
        f"largest force {result.largest_force:.4f} eV/Å (--fmax {settings.largest_force:g}){stress}."
    )
