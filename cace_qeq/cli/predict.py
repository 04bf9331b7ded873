"""`cace-qeq predict`."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from cace_qeq.calculator import CACEQEqCalculator
from cace_qeq.checkpoint import mark
from cace_qeq.cli.evaluate import BatchAtoms, Charge, Device, Keys, Model, label_keys
from cace_qeq.cli.structure import (
    SavedPrecisionOption,
    SolverOption,
    precision_of,
    refuse_idle_charge,
    solver_of,
    with_total_charge,
)
from cace_qeq.files import refuse_unwritable
from cace_qeq.simulation.trajectory import named_as_xyz
from cace_qeq.structures import (
    EVALUATION_ATOMS,
    TOTAL_CHARGE_KEYS,
    Atoms,
    LabelKeys,
    charge_by_conditions,
    labels_of,
    read_frames,
    refuse_absent,
    total_charge_of,
    write_predictions,
)

Data = Annotated[list[Path], typer.Argument(help="Files of structures, in any format that ASE reads.")]
AllCharge = Annotated[
    float | None, typer.Option(help="Total charge of every frame in e, whatever it states.", show_default=False)
]
Out = Annotated[Path, typer.Option(help="The same structures with what the model says of them, extended XYZ.")]


def predict(
    model: Model,
    data: Data,
    out: Out = Path("predicted.extxyz"),
    charge: AllCharge = None,
    default_total_charge: Charge = None,
    keys: Keys = "",
    batch_atoms: BatchAtoms = EVALUATION_ATOMS,
    device: Device = "cpu",
    dtype: SavedPrecisionOption = None,
    solver: SolverOption = "auto",
) -> None:
    """Energies, forces, stresses and charges of structures, labelled or not; of a committee also its spread.

    Results stand where ASE looks for them (`atoms.get_forces()`), labels beside them as REF_energy, REF_forces, ...
    """
    if named_as_xyz(out).exists():
        raise FileExistsError(f"{out} exists already; choose another name with --out.")
    refuse_unwritable(out)
    names = label_keys(keys)
    frames = [atoms for path in data for atoms in read_frames(path)]
    refuse_absent(names, frames, "--keys")
    frames = [with_total_charge(atoms, charge_for(atoms, names, charge)) for atoms in frames]
    names = replace(names, total_charge=None)  # it stands where calculators look for it
    for atoms in frames:
        labels_of(atoms, names)  # raises before there is anything to lose
    calculator = CACEQEqCalculator(model, device, precision_of(dtype), solver=solver_of(solver))
    refuse_idle_charge(charge, calculator.model.config.energy, model)
    console = Console()
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("predicting", total=len(frames))
        given = (with_default(atoms, default_total_charge) for atoms in frames)
        results = calculator.results_together(given, batch_atoms, partial(progress.advance, task))
    write_predictions(out, frames, results, mark(calculator.model), names)
    console.print(f"{len(frames)} frames: {out}", markup=False, soft_wrap=True, highlight=False)


def charge_for(atoms: Atoms, keys: LabelKeys, of_all: float | None) -> float | None:
    """e, that of all frames, or what a frame states under a name of its own; None for another one's."""
    if of_all is None and keys.total_charge in atoms.info:
        return total_charge_of(atoms, keys, None)
    return of_all


def with_default(atoms: Atoms, default: float | None) -> Atoms:
    """With the default for its total charge, if there is one, the frame states none, and no conditions decide."""
    silent = not any(key in atoms.info for key in TOTAL_CHARGE_KEYS)
    if default is not None and silent and charge_by_conditions(atoms) is None:
        atoms.info["total_charge"] = default
    return atoms
