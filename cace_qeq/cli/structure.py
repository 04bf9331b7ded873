"""What commands share that look at single structures: a frame of a file with a model attached."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import typer
from rich.console import Console

from cace_qeq.calculator import CACEQEqCalculator
from cace_qeq.electrostatics import Solver
from cace_qeq.structures import Atoms, read_frames
from cace_qeq.structures.convert.lookup import ALIASES

Precision = Literal["float32", "float64"]
NUMBERS: dict[str, Callable[[str], float]] = {"tolerance": float, "iterations": int, "mesh_accuracy": float}

ModelArgument = Annotated[Path, typer.Argument(metavar="MODEL", help="A model.safetensors file.")]
StructureArgument = Annotated[
    Path, typer.Argument(metavar="STRUCTURE", help="Where to start, any format that ASE reads.")
]
FrameOption = Annotated[int, typer.Option(help="Which frame of STRUCTURE; -1 is the last.")]
ChargeOption = Annotated[
    float | None, typer.Option(help="Total charge in e; by default what STRUCTURE says.", show_default=False)
]
DeviceOption = Annotated[str, typer.Option(help="That the model runs on: cpu, cuda, cuda:1 ...")]
CompileOption = Annotated[
    bool, typer.Option("--compile", help="Generate code for the network: worth it for long runs of molecules.")
]
PrecisionOption = Annotated[Precision, typer.Option("--dtype", help="Precision of the network.")]
SavedPrecisionOption = Annotated[
    Precision | None, typer.Option("--dtype", help="Precision of the network, by default as saved.", show_default=False)
]
SolverOption = Annotated[
    str,
    typer.Option(
        help="How charges are found: dense, structure_factors or mesh; also tolerance (eV/e), iterations and "
        "mesh_accuracy, e.g. mesh,tolerance=1e-8."
    ),
]


@dataclass(frozen=True)
class Start:
    """Where a simulation starts.

    charge  e, None for what the file says
    """

    model: Path
    structure: Path
    frame: int
    charge: float | None
    device: str
    precision: Precision
    compiled: bool
    solver: Solver

    def atoms(self) -> Atoms:
        """The structure with the model attached.

        Raises ValueError for a frame that the file does not have, and for a total charge that a model has no use for.
        """
        atoms = structure_of(self.structure, self.frame, self.charge)
        precision = precision_of(self.precision)
        atoms.calc = CACEQEqCalculator(self.model, self.device, precision, solver=self.solver, compiled=self.compiled)
        refuse_idle_charge(self.charge, atoms.calc.model.config.energy, self.model)
        if self.compiled:
            with Console().status("generating code for the network"):
                atoms.get_potential_energy()
        return atoms


def refuse_idle_charge(charge: float | None, energy: str, model: Path) -> None:
    """Raise ValueError for a total charge that a model with this energy has no use for."""
    if charge and energy == "none":
        raise ValueError(f"--charge {charge:g}: {model} has no charges, so that it changes nothing; omit it.")


def precision_of(name: Precision | None) -> torch.dtype | None:
    """None for that of the file."""
    return None if name is None else getattr(torch, name)


def solver_of(text: str) -> Solver:
    """From a method and settings with commas between.

    Raises ValueError for anything else.
    """
    settings: dict[str, Any] = {}
    for word in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = word.partition("=")
        if not equals:
            settings["method"] = word
        elif name not in NUMBERS:
            raise ValueError(f"--solver {text}: {word!r} is no setting of {', '.join(NUMBERS)}.")
        else:
            try:
                settings[name] = NUMBERS[name](value)
            except ValueError:
                raise ValueError(f"--solver {text}: expected a number in {word!r}.") from None
    return Solver(**settings)


def structure_of(path: Path, frame: int, charge: float | None) -> Atoms:
    """A frame of a file.

    charge  e, None for what the file says

    Raises ValueError for a frame that the file does not have.
    """
    frames = read_frames(path)
    if not -len(frames) <= frame < len(frames):
        raise ValueError(f"{path} has {len(frames)} frames; there is no frame {frame}.")
    return with_total_charge(frames[frame], charge)


def with_total_charge(atoms: Atoms, charge: float | None) -> Atoms:
    """With another total charge than the frame's own, unless it is None."""
    if charge is not None:
        for key in ALIASES["total_charge"]:
            atoms.info.pop(key, None)
        atoms.info["charge"] = charge
    return atoms
