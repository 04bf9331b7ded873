"""`cace-qeq doctor`."""

import json as json_format
import math
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cace_qeq.cli.structure import ChargeOption, FrameOption, ModelArgument, refuse_idle_charge, structure_of
from cace_qeq.committee import Committee, load_potential
from cace_qeq.doctor import Check, examine, samples
from cace_qeq.files import refuse_inputs, refuse_unwritable, write_atomically

Findings = Mapping[str, Sequence[Check]]  # of every structure, by its name

StructureArgument = Annotated[
    Path | None,
    typer.Argument(metavar="[STRUCTURE]", help="Any format that ASE reads; by default small ones of its elements."),
]
JsonOption = Annotated[Path | None, typer.Option("--json", help="Write the numbers to this file.")]


def doctor(
    model: ModelArgument,
    structure: StructureArgument = None,
    charge: ChargeOption = None,
    frame: FrameOption = -1,
    json: JsonOption = None,
) -> None:
    """Check that a model keeps its promises: charge equations, derivatives, symmetry, smoothness, solvers.

    Of a committee, every member. Exit code 1 if a number is beyond its limit.
    """
    potential = load_potential(model, dtype=torch.float64)
    patients = potential.members if isinstance(potential, Committee) else (potential,)
    if structure is None and (charge is not None or frame != -1):
        raise ValueError("--charge and --frame are those of a STRUCTURE, but none is given; give its file, or neither.")
    refuse_idle_charge(charge, potential.config.energy, model)
    if structure is None:
        structures = samples(potential.config.species)
    else:
        structures = {str(structure): structure_of(structure, frame, charge)}
    if json is not None:
        refuse_inputs(json, [model, *([structure] if structure else [])])
        refuse_unwritable(json)
    console, findings = Console(), {}
    for (number, patient), (place, atoms) in product(enumerate(patients, 1), structures.items()):
        name = place if len(patients) == 1 else f"{place}, member {number}"
        with console.status(escape(f"examining: {name}")):
            findings[name] = list(examine(patient, atoms))
        console.print(table(escape(f"{model} on {name}"), findings[name]))
    failures = sum(not check.passed for checks in findings.values() for check in checks)
    total = sum(len(checks) for checks in findings.values())
    console.print(f"{total - failures} of {total} checks passed.", highlight=False)
    if json is not None:
        write_atomically(json, json_format.dumps(record(findings), indent=2, allow_nan=False).encode())
    if failures:
        raise typer.Exit(1)


def table(title: str, checks: Sequence[Check]) -> Table:
    """One row per check."""
    found = Table(title=title)
    for column in ("check", "value", "limit", "unit", ""):
        found.add_column(column, justify="right" if column in ("value", "limit") else "left")
    for check in checks:
        verdict = "[green]passed[/]" if check.passed else "[bold red]FAILED[/]"
        found.add_row(escape(check.name), f"{check.value:.2g}", f"{check.limit:.2g}", check.unit, verdict)
    return found


def record(findings: Findings) -> dict[str, Any]:
    """Plain values for JSON, which has no NaN and no infinity: null."""
    return {
        name: [
            {
                "name": check.name,
                "value": finite(check.value),
                "limit": finite(check.limit),
                "unit": check.unit,
                "passed": check.passed,
            }
            for check in checks
        ]
        for name, checks in findings.items()
    }


def finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
