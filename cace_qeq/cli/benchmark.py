"""`cace-qeq benchmark`."""

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cace_qeq.benchmark import (
    BATCH,
    CUTOFF,
    HEAD,
    OPTIMIZERS,
    OWN,
    RELEASES,
    SETS,
    UNITS,
    UNKNOWN,
    Comparison,
    Finished,
    Run,
    WorkerError,
    check_environment,
    draw,
    finished,
    interpreters_of,
    make_environment,
    markdown,
    state,
    table,
)
from cace_qeq.cli.progress import SHOWN
from cace_qeq.cli.trainings import Trainings
from cace_qeq.files import write_atomically

SECONDS = 300.0
MODELS = "cace_qeq S,nequip S,mace 64x0e"
COLUMNS = (
    "model", "frames", "budget", "training (CPU s)", "energy (meV/atom)", "forces (meV/Å)", "charges (me)",
    "inference (µs/atom)", "seeds",
)  # fmt: skip

app = typer.Typer(
    no_args_is_help=True,
    help="Train this model and spherical ones on the same frames for the same CPU time or epochs, and compare.",
)

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Where the environments go.")]
Peers = Annotated[list[str], typer.Argument(help=f"Any of {', '.join(RELEASES)}.")]
Sets = Annotated[list[str], typer.Argument(help="Names of `cace-qeq benchmark datasets`.")]
Models = Annotated[str, typer.Option(help="Codes and sizes; commas between.")]
Seconds = Annotated[float | None, typer.Option(help=f"CPU time of each training, {SECONDS:g} by default.", min=0.1)]
Epochs = Annotated[int | None, typer.Option(help="Passes over the frames, instead of --seconds.", min=1)]
Seeds = Annotated[str, typer.Option(help="Of weights and of the order of frames.")]
Frames = Annotated[str, typer.Option(help="Numbers of training frames for learning curves; 0 for all.")]
Cutoff = Annotated[float, typer.Option(help="Å, of every model.", min=0.1)]
Batch = Annotated[int, typer.Option(help="Frames of a step.", min=1)]
Optimizer = Annotated[str, typer.Option(help=f"Of every model: {' or '.join(OPTIMIZERS)}.")]
LearningRate = Annotated[list[str] | None, typer.Option(help="Of a code, e.g. nequip=0.02, instead of the usual.")]
PeerPython = Annotated[list[str] | None, typer.Option(help="Interpreter of a peer, e.g. nequip=PATH.")]
Data = Annotated[Path, typer.Option(help="Folder of the downloaded sets.")]
Out = Annotated[Path, typer.Option(help="Folder of results, table and figures.")]
States = Annotated[Path | None, typer.Option(help="Folder of unfinished trainings; by default in --out.")]


@app.command()
def environments(folder: Folder, peers: Peers) -> None:
    """Make an environment for each peer, from its package index release."""
    console = Console()
    for peer in peers:
        with console.status(f"{peer}: making its environment, which takes minutes"):
            python = make_environment(peer, folder)
        console.print(f"--peer-python {peer}={python}", markup=False, soft_wrap=True, highlight=False)


@app.command()
def datasets(data: Data = Path()) -> None:
    """List the sets with licence, level of theory, source and split, and whether --data holds them unchanged."""
    found = Table("name", "state", "licence, level of theory, source, split", title=f"Sets ({UNITS})", show_lines=True)
    for one in SETS:
        about = f"{one.licence}\n{one.level}\nfrom {one.source}\n{one.split}"
        found.add_row(Text(one.name), state(one, data), Text(about))
    Console().print(found)


@app.command()
def run(
    sets: Sets,
    models: Models = MODELS,
    seconds: Seconds = None,
    epochs: Epochs = None,
    seeds: Seeds = "1",
    frames: Frames = "0",
    cutoff: Cutoff = CUTOFF,
    batch: Batch = BATCH,
    optimizer: Optimizer = OPTIMIZERS[0],
    learning_rate: LearningRate = None,
    peer_python: PeerPython = None,
    data: Data = Path(),
    out: Out = Path("benchmark_run"),
    states: States = None,
) -> None:
    """Train and evaluate every model, one after the other on one core; what is finished is not run again.

    Exit code 1 if a training failed.
    """
    subjects = [model.strip() for model in models.split(",")]
    if not all(subjects):
        raise ValueError(f"--models {models!r}: expected codes and sizes with commas between, such as {MODELS!r}.")
    variants = product(numbers(seeds, "--seeds"), sets, numbers(frames, "--frames"), subjects)
    if seconds and epochs:
        raise ValueError("give --seconds or --epochs, not both.")
    budget = 0.0 if epochs else seconds or SECONDS
    rates = rates_of(learning_rate or [], {model.split()[0] for model in subjects})
    every = [
        with_rate(Run(name, model, seed, budget, count, cutoff, batch, optimizer, epochs or 0), rates)
        for seed, name, count, model in variants
    ]
    runs = list(dict.fromkeys(every))
    peers = sorted({one.engine for one in runs} - {OWN})
    interpreters = interpreters_of(",".join(peers), peer_python or [], None)
    comparison = Comparison(interpreters, data, out, states or out / "states")
    missing = [one for one in runs if not comparison.result(one).exists()]
    for name in sorted({one.set for one in missing}):
        comparison.files(name)
    for peer in sorted({one.engine for one in missing} - {OWN}):
        check_environment(peer, interpreters[peer].python)
    failures = train(missing, comparison)
    ending = f"{len(runs) - failures} of {len(runs)} trainings are finished: {out}"
    Console().print(ending, markup=False, soft_wrap=True, highlight=False)
    if failures:
        raise typer.Exit(1)


def train(runs: list[Run], comparison: Comparison) -> int:
    """How many failed; a code that fails does not keep the others from running."""
    console, failures = Console(highlight=False), 0
    try:
        with Trainings(runs, console) as trainings:
            for one in runs:
                try:
                    with trainings.shown(one) as tell:
                        done = comparison.train(one, tell)
                    console.print(line(done), markup=False, soft_wrap=True)
                except WorkerError as error:
                    console.print(Text(f"{one.title}: {error}", style="red"), soft_wrap=True)
                    failures += 1
    except KeyboardInterrupt:
        console.print("Interrupted; the same command goes on from the last validation.", soft_wrap=True)
        raise typer.Exit(130) from None
    return failures


@app.command()
def report(out: Out = Path("benchmark_run")) -> None:
    """Write compare.md and a figure for each set: error against training time, cost of inference and frames."""
    results = list(finished(out))
    if not results:
        raise ValueError(f"there are no results in {out}; begin with `cace-qeq benchmark run`.")
    write_atomically(out / "compare.md", markdown(results).encode())
    console = Console(highlight=False)
    for name in sorted({one.run.set for one in results}):
        console.print(shown(name, table(one for one in results if one.run.set == name)))
    for path in (out / "compare.md", *draw(results, out / "figures")):
        console.print(f"{path}", markup=False, soft_wrap=True)


def numbers(text: str, option: str) -> list[int]:
    """raises  ValueError for anything but whole numbers between commas"""
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdigit() for word in words):
        raise ValueError(f"{option} {text}: expected whole numbers with commas between, e.g. 1,2,3.")
    return list(map(int, words))


def rates_of(options: list[str], codes: set[str]) -> dict[str, float]:
    """By code; raises ValueError for anything but CODE=NUMBER of one of these codes."""
    rates = {}
    for option in options:
        code, _, value = option.partition("=")
        try:
            rates[code] = float(value)
        except ValueError:
            raise ValueError(f"--learning-rate {option}: expected CODE=NUMBER, e.g. nequip=0.02.") from None
        if not rates[code] > 0:
            raise ValueError(f"--learning-rate {option}: expected a positive number.")
        if code not in codes:
            raise ValueError(f"--learning-rate {option}: {code!r} is none of {', '.join(sorted(codes))} of --models.")
    return rates


def with_rate(one: Run, rates: dict[str, float]) -> Run:
    return replace(one, learning_rate=rates.get(one.engine, 0.0))


def line(done: Finished) -> str:
    errors = [text.format(done.errors[name]) for name, text in SHOWN if name in done.errors]
    return "  ".join([done.run.title, *errors])


def shown(name: str, rows: list[list[str]]) -> Table:
    """As much of a set's table as a terminal can show."""
    found = Table(title=f"{name}, root mean square errors on held-out frames")
    columns = [column for column in COLUMNS if any(row[HEAD.index(column)] != UNKNOWN for row in rows)]
    for column in columns:
        found.add_column(column, justify="left" if column == "model" else "right", overflow="fold")
    for row in rows:
        found.add_row(*(row[HEAD.index(column)] for column in columns))
    return found
