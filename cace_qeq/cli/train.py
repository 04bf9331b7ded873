"""`cace-qeq train`."""

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cace_qeq.cli.progress import RichReporter
from cace_qeq.cli.tables import metrics_table
from cace_qeq.plots import plot_learning_curve, plot_parity
from cace_qeq.training import Evaluation, Outcome, Start, fit, load_config

SPREAD = "_percent_of_spread"  # at the end of names of metrics

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
    for note in poor(outcome.evaluations):
        console.print(note, markup=False, soft_wrap=True)
    ending = f"Ended: {outcome.reason}. Model: {outcome.folder.model}"
    if outcome.reason == "time limit":
        minutes = sum(record["seconds"] for record in outcome.history) / 60
        ending += (
            f"\n{minutes:.3g} minutes, earlier ones of this run included; raise training.max_minutes to --resume it."
        )
    console.print(ending, markup=False, soft_wrap=True)


def poor(evaluations: Mapping[str, Evaluation]) -> Iterator[str]:
    """What a model predicts worse than the mean of the labels does."""
    for name, evaluation in evaluations.items():
        for key, value in evaluation.metrics.items():
            if key.endswith(SPREAD) and value is not None and value > 100:
                what = key.removesuffix(SPREAD)
                yield (
                    f"{what}, {name}: errors are {value:.0f} % of the spread of the labels, which their mean would not "
                    "exceed; train longer, or look for other units, signs or methods among the files."
                )
