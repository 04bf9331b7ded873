"""`cace-qeq evaluate`."""

import json as json_format
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from cace_qeq.cli.structure import SavedPrecisionOption, SolverOption, precision_of, solver_of
from cace_qeq.cli.tables import UNITS, groups_table, metrics_table, spread_table
from cace_qeq.committee import Committee, load_potential
from cace_qeq.files import refuse_inputs, refuse_unwritable, write_atomically
from cace_qeq.model import CACEQEq
from cace_qeq.plots import plot_parity
from cace_qeq.strict import refuse_unknown_keys
from cace_qeq.structures import EVALUATION_ATOMS, LabelKeys, label_sources, refuse_absent, told_of_predictions
from cace_qeq.training import Evaluation, Frame, Metrics, batches_for, evaluate_committee, read_labelled
from cace_qeq.training import evaluate as evaluated
from cace_qeq.training.data import Example

PARITY = "parity.png"

Model = Annotated[Path, typer.Argument(help="A model.safetensors file, or a committee's.")]
Data = Annotated[list[Path], typer.Argument(help="Files of labelled frames, in any format that ASE reads.")]
Json = Annotated[Path | None, typer.Option("--json", help="Write the errors to this file.")]
Plots = Annotated[Path | None, typer.Option(help="Write parity.png into this folder.")]
Keys = Annotated[str, typer.Option(help="Keys of labels that have unusual names, e.g. energy=E0,forces=F0.")]
By = Annotated[
    str, typer.Option(help="Also errors of frames with the same value of this key of their comment line: config_type.")
]
Charge = Annotated[float | None, typer.Option(help="Total charge of frames that state none, e.")]
BatchAtoms = Annotated[int, typer.Option(min=1, help="Atoms that are evaluated at once; a GPU likes thousands.")]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]


def evaluate(
    model: Model,
    data: Data,
    json: Json = None,
    plots: Plots = None,
    keys: Keys = "",
    by: By = "",
    default_total_charge: Charge = None,
    batch_atoms: BatchAtoms = EVALUATION_ATOMS,
    device: Device = "cpu",
    dtype: SavedPrecisionOption = None,
    solver: SolverOption = "auto",
) -> None:
    """Errors of a model on labelled structures; of a committee also how far its members are apart."""
    console = Console()
    trained = load_potential(model, device, precision_of(dtype))
    trained.solver = solver_of(solver)
    names = label_keys(keys)
    frames = read_labelled(data, names)
    refuse_absent(names, [frame.atoms for frame in frames], "--keys")
    refuse_unlabelled(names, frames)
    groups = grouped(frames, by) if by else {}
    for target in (json, plots and plots / PARITY):
        if target is not None:
            refuse_inputs(target, [model, *data])
            refuse_unwritable(target)
    batches = partial(batches_for, trained, keys=names, default_charge=default_total_charge, batch_atoms=batch_atoms)
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("evaluating", total=len(frames) * (2 if groups else 1))
        done = partial(progress.advance, task)
        evaluation, spread = judged(trained, batches(frames), done)
        parts = {value: judged(trained, batches(members), done)[0].metrics for value, members in groups.items()}
    write({**evaluation.metrics, **spread} | ({"by": {by: parts}} if parts else {}), evaluation.parity, json, plots)
    console.print(metrics_table(escape(f"Errors of {model}"), evaluation.metrics))
    if parts:
        console.print(groups_table(escape(f"Root mean square errors by {by}"), parts))
    if spread:
        console.print(spread_table("Spread of its members", spread))


def grouped(frames: Sequence[Frame], key: str) -> dict[str, list[Frame]]:
    """By what their comment lines say of a key, in the order of appearance; those that say nothing under "–".

    Raises ValueError for a key that no frame has.
    """
    groups: dict[str, list[Frame]] = {}
    for frame in frames:
        groups.setdefault(str(frame.atoms.info.get(key, "–")), []).append(frame)
    if not any(key in frame.atoms.info for frame in frames):
        raise ValueError(f"--by {key}: no frame has this key; correct the name, or leave it out.")
    return groups


def judged(
    model: CACEQEq | Committee, batches: Iterator[Example], done: Callable[[int], None]
) -> tuple[Evaluation, Metrics]:
    """Errors of a model, or those of the mean of a committee and the spread of its members."""
    if isinstance(model, Committee):
        return evaluate_committee(model, batches, done)
    return evaluated(model, batches, done), {}


def write(metrics: dict[str, Any], parity: Any, target: Path | None, plots: Path | None) -> None:
    """The files that were asked for."""
    if target is not None:
        write_atomically(target, json_format.dumps(metrics, indent=2).encode())
    if plots is not None and parity:
        plot_parity(parity, plots / PARITY)


def label_keys(text: str) -> LabelKeys:
    """`property=key` pairs between commas."""
    words = [word.strip().partition("=") for word in text.split(",") if word.strip()]
    if incomplete := [name for name, _, key in words if not key]:
        raise ValueError(f"--keys: {incomplete[0]!r} names no key, expected property=key, e.g. energy=E0,forces=F0.")
    names = [name for name, _, _ in words]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"--keys: {twice[0]} stands twice; name one key for it.")
    try:
        refuse_unknown_keys(names, LabelKeys.__dataclass_fields__)
    except ValueError as error:
        raise ValueError(f"--keys: {error}") from None
    return LabelKeys(**{name: key for name, _, key in words})


def refuse_unlabelled(keys: LabelKeys, frames: Sequence[Frame]) -> None:
    """Raise ValueError where there is nothing to compare with."""
    if not any(label_sources(frame.atoms, keys)[name] for frame in frames for name in UNITS):
        raise ValueError(
            f"no frame has a label of any property ({', '.join(UNITS)}), so there are no errors; name the keys of "
            "labels with --keys, e.g. energy=E0,forces=F0. "
            + told_of_predictions([frame.atoms for frame in frames], "--keys")
        )
