"""This model beside spherical ones: the same frames, split, cutoff, seeds, loss, schedule and CPU seconds.

    python benchmarks/compare_spherical.py run acac --seconds 300 --seeds 1,2,3 \
        --peer-python nequip=PATH --peer-python mace=PATH
    python benchmarks/compare_spherical.py report

`run` trains and evaluates every model in its own environment (environments.py makes them), one after the other on one
core, and writes one JSON each to results/compare; what is there is not run again, and a broken training goes on from
runs/compare. `report` makes the table and the figures of all results. How models are trained is said in
engines/fitting.py; learning rates and weights stand in comparison/runs.py and in every result.
"""

from itertools import product
from pathlib import Path
from typing import Annotated

import typer
from ase.data import chemical_symbols
from rich.console import Console

from cace_qeq.structures import read_frames
from comparison.figures import draw
from comparison.report import markdown
from comparison.runs import Run, finished
from datasets import DATA, DataSet, dataset
from record import RESULTS, write_result
from speed.workers import DEFAULT, OWN, Interpreter, Worker, WorkerError, interpreters_of

FOLDER = RESULTS / "compare"
STATES = Path("runs/compare")
MODELS = "cace_qeq S,nequip S,mace 64x0e"

app = typer.Typer(pretty_exceptions_enable=False, help=__doc__)
Sets = Annotated[list[str], typer.Argument(help="Names of sets in datasets.py.")]
Models = Annotated[str, typer.Option(help="Codes and sizes.")]
Seconds = Annotated[float, typer.Option(help="CPU time of each training.")]
Seeds = Annotated[str, typer.Option(help="Of weights and of the order of frames.")]
Frames = Annotated[str, typer.Option(help="Numbers of training frames for learning curves; 0 for all.")]
Cutoff = Annotated[float, typer.Option(help="Å, of every model.")]
Batch = Annotated[int, typer.Option(help="Frames of a step.")]
PeerPython = Annotated[list[str] | None, typer.Option(help="Interpreter of a peer, e.g. nequip=PATH.")]
Data = Annotated[Path, typer.Option(help="Folder of the downloaded sets.")]


@app.command()
def run(
    sets: Sets,
    models: Models = MODELS,
    seconds: Seconds = 300.0,
    seeds: Seeds = "1",
    frames: Frames = "0",
    cutoff: Cutoff = 5.0,
    batch: Batch = 5,
    peer_python: PeerPython = None,
    data: Data = DATA,
) -> None:
    """Train and evaluate; seeds outermost, so that every model has been run once early."""
    peers = sorted({model.partition(" ")[0] for model in models.split(",")} - {OWN})
    interpreters = interpreters_of(",".join(peers), peer_python or [], None)
    numbers, counts = map(int, seeds.split(",")), map(int, frames.split(","))
    for seed, name, count, model in product(numbers, sets, counts, models.split(",")):
        one = Run(name, model, seed, seconds, count, cutoff, batch)
        if not (FOLDER / f"{one.name}.json").exists():
            attempt(one, interpreters[one.engine], dataset(name), data)


def attempt(one: Run, interpreter: Interpreter, found: DataSet, data: Path) -> None:
    """A code that fails does not keep the others from running."""
    console = Console(highlight=False)
    with console.status(one.name) as status, Worker(one.engine, interpreter, DEFAULT) as worker:
        worker.tell = lambda text: status.update(f"{one.name}: {text}")
        try:
            path = train(one, worker, found, data)
            console.print(f"{path}")
        except WorkerError as error:
            console.print(f"{one.name}: {error}", markup=False)


def train(one: Run, worker: Worker, found: DataSet, data: Path) -> Path:
    files = {
        "train": found.paths("train", data),
        "valid": found.paths("valid", data),
        "held_out": found.held_out(data),
    }
    numbers = sorted({number for path in files["train"] for atoms in read_frames(path) for number in atoms.numbers})
    symbols = [chemical_symbols[number] for number in numbers]
    plan = one.plan({part: list(map(str, paths)) for part, paths in files.items()}, symbols, STATES / f"{one.name}.pt")
    result = worker.ask("fit", plan=plan)
    about = {"run": one.values(), "held_out": "test" if found.paths("test", data) else "valid"}
    return write_result(f"compare/{one.name}", {**about, "result": result, "versions_of_code": worker.ask("versions")})


@app.command()
def report() -> None:
    """compare.md and a figure for each set, in results/compare."""
    results = list(finished(FOLDER))
    if not results:
        raise ValueError(f"there are no results in {FOLDER}; begin with `run`.")
    table = markdown(results)
    (FOLDER / "compare.md").write_text(table)
    print(table)
    for path in draw(results, FOLDER / "figures"):
        print(path)


if __name__ == "__main__":
    app()
