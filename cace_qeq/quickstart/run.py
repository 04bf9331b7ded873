"""The quickstart from beginning to end: train, measure, simulate, draw, write."""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from cace_qeq.checkpoint import load_model
from cace_qeq.files import alone, is_empty, write_atomically
from cace_qeq.model import CACEQEq
from cace_qeq.quickstart.errors import errors_of_set
from cace_qeq.quickstart.figures import DYNAMICS, draw
from cace_qeq.quickstart.ions import FILES, DynamicsWatcher, simulate_ions
from cace_qeq.quickstart.plan import Plan
from cace_qeq.quickstart.report import report
from cace_qeq.quickstart.results import Results, Training, metrics
from cace_qeq.structures import read_frames
from cace_qeq.training import Outcome, Reporter, Start, fit

REPORT = "report.html"


class Narrator(DynamicsWatcher, Protocol):
    """Tells what is going on."""

    @property
    def training(self) -> Reporter:
        """Receives the events of training."""


@dataclass
class Stopwatch:
    """Seconds between laps, by the name of what ended."""

    started: float = field(default_factory=time.monotonic)
    seconds: dict[str, float] = field(default_factory=dict)

    def lap(self, name: str) -> None:
        self.seconds[name] = time.monotonic() - self.started - sum(self.seconds.values())


def quickstart(plan: Plan, start: Start, narrator: Narrator) -> Results:
    """Train one model, evaluate it, relax and move Ag3+ and Ag3- with it, and write the report.

    start  "new", or "overwrite" to replace an earlier quickstart in the folder

    raises  ValueError for a folder that holds files already, BlockingIOError for one that another process writes into,
            KeyboardInterrupt if training was interrupted
    """
    with alone(plan.out / "quickstart", plan.out):
        make_room(plan.out, start)
        return run_in(plan, start, narrator)


def run_in(plan: Plan, start: Start, narrator: Narrator) -> Results:
    """As `quickstart`, in a folder that nobody else writes into."""
    watch, processor = Stopwatch(), time.process_time()
    outcome = fit(plan.config, start, narrator.training)
    if outcome.reason == "interrupted":
        raise KeyboardInterrupt
    watch.lap("training")
    model = load_model(outcome.folder.model)
    sets = {name: errors_of_set(model, folder) for name, folder in plan.sets.items()}
    watch.lap("evaluation")
    ions = simulate_ions(model, plan, narrator)
    watch.lap("simulation")
    seconds = {**watch.seconds, "processor": time.process_time() - processor}
    results = Results(outcome.evaluations, sets, ions, summary(plan, model, outcome), seconds)
    write(results, outcome)
    return results


def summary(plan: Plan, model: CACEQEq, outcome: Outcome) -> Training:
    """What was trained on what."""
    return Training(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        epochs=outcome.history[-1]["epoch"],
        frames={
            split: sum(len(read_frames(path)) for path in plan.files(split)) for split in ("train", "valid", "test")
        },
        versions=model.provenance["versions"],
    )


def make_room(out: Path, start: Start) -> None:
    """Remove what an earlier quickstart wrote beside the files of training, if asked to.

    raises  ValueError for a folder with files otherwise
    """
    if start == "new" and not is_empty(out):
        raise ValueError(
            f"{out} already holds files; give --overwrite to replace an earlier quickstart there, "
            "or another folder as --out."
        )
    for name in (*FILES, DYNAMICS, REPORT):
        (out / name).unlink(missing_ok=True)


def write(results: Results, outcome: Outcome) -> None:
    """Numbers, figures, and the report that shows them."""
    folder = outcome.folder
    write_atomically(folder.metrics, json.dumps(metrics(results), indent=2).encode())
    figures = draw(results, outcome.history, folder)
    page = report(results, {name: path.read_bytes() for name, path in figures.items()})
    write_atomically(folder.path / REPORT, page.encode())
