"""`cace-qeq train`."""

import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cace_qeq.cli.progress import RichReporter
from cace_qeq.cli.tables import metrics_table
from cace_qeq.plots import plot_learning_curve, plot_parity
from cace_qeq.training import Outcome, Start, fit, load_config

Config = Annotated[Path, typer.Argument(help="YAML with the sections data, model and training.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[SECTION.KEY=VALUE]...", help="Changes, e.g. training.epochs=50."),
]
Resume = Annotated[bool, typer.Option("--resume", help="Continue the run in the output folder.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the run in the output folder.")]


def train(config: Config, overrides: Overrides = None, resume: Resume = False, overwrite: Overwrite = False) -> None:
    """Train a model on labelled structures."""
    if resume and overwrite:
        raise ValueError("--resume and --overwrite exclude each other; choose one.")
    settings = load_config(config, overrides or ())
    start: Start = "resume" if resume else "overwrite" if overwrite else "new"
    outcome = fit(settings, start, RichReporter())
    report(outcome, shlex.join([str(config), *(overrides or ())]))


def report(outcome: Outcome, arguments: str) -> None:
    """Where the results are, or how to go on."""
    console = Console(highlight=False)
    if outcome.reason == "interrupted":
        command = f"cace-qeq train {arguments} --resume"
        console.print(f"Interrupted; continue with: {command}", markup=False, soft_wrap=True)
        raise typer.Exit(130)
    plot_learning_curve(outcome.history, outcome.folder.learning_curve)
    for name, evaluation in outcome.evaluations.items():
        console.print(metrics_table(f"Errors of the best model, {name}", evaluation.metrics))
        if evaluation.parity:
            plot_parity(evaluation.parity, outcome.folder.parity, name)  # the test frames come last, if there are any
    ending = f"Ended: {outcome.reason}. Model: {outcome.folder.model}"
    console.print(ending, markup=False, soft_wrap=True)
