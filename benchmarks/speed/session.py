"""One run: workers that stay up, and items whose subjects take turns."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase.io
from ase import Atoms

from cace_qeq.benchmark.workers import DEFAULT, OWN, Allocator, Interpreter, Worker, WorkerError
from speed.outcome import Record, milliseconds
from speed.plan import CUTOFF, Item

BURST = 0.15  # s, what a subject does per turn if its calls are shorter


@dataclass(frozen=True)
class Turn:
    """A subject under an allocator, ready in its worker."""

    subject: str
    allocator: str
    worker: Worker
    about: dict[str, Any]
    calls: int

    @property
    def name(self) -> str:
        return f"{self.subject}, {self.allocator}"


class Session:
    """Measures items; says what it is doing through `tell`."""

    def __init__(
        self,
        interpreters: dict[str, Interpreter],
        allocators: tuple[Allocator, ...],
        folder: Path,
        tell: Callable[[str], None],
        device: str = "cpu",
    ):
        self.interpreters, self.allocators, self.folder, self.tell = interpreters, allocators, folder, tell
        self.device = device
        self.workers: dict[tuple[str, str], Worker] = {}
        self.record = Record()
        self.stack = ExitStack()

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *error: object) -> None:
        self.stack.close()

    def subjects(self, wished: tuple[str, ...]) -> Iterator[tuple[str, str, str]]:
        """Label, engine and model of those whose engine is there."""
        for subject in wished:
            engine, _, model = subject.partition(" ")
            if engine in self.interpreters:
                yield subject, engine, model

    def worker(self, engine: str, allocator: Allocator) -> Worker:
        """The one that stays up for this engine and allocator."""
        key = (engine, allocator.name)
        if key not in self.workers:
            self.workers[key] = self.stack.enter_context(self.fresh(engine, allocator))
        return self.workers[key]

    def fresh(self, engine: str, allocator: Allocator) -> Worker:
        return Worker(engine, self.interpreters[engine], allocator)

    def versions(self) -> dict[str, dict[str, str]]:
        return {engine: self.worker(engine, DEFAULT).ask("versions") for engine in self.interpreters}

    def measure(self, item: Item) -> None:
        """Subjects in turns, the medians of all their calls."""
        frames = item.frames()
        about = {"unit": "ms", "work": item.work, "dtype": item.dtype, "frames": len(frames), "atoms": len(frames[0])}
        turns = self.ready(item, self.written(item.name, frames))
        samples: dict[str, list[dict[str, list[float]]]] = {turn.name: [] for turn in turns}
        for number in range(item.rounds):
            for turn in turns:
                self.tell(f"{item.name}, round {number + 1} of {item.rounds}: {turn.name}")
                turn.worker.ask("run", name=item.name + turn.subject, times=1)  # not counted
                samples[turn.name].append(turn.worker.ask("run", name=item.name + turn.subject, times=turn.calls))
        for turn in turns:
            found = {**milliseconds(samples[turn.name], self.device), **turn.about, **self.traffic(item, turn)}
            turn.worker.ask("forget", name=item.name + turn.subject)
            self.record.add(item.name, about, turn.subject, turn.allocator, found)

    def traffic(self, item: Item, turn: Turn) -> dict[str, Any]:
        """What the operations of our own networks read and write on a GPU; recorded ones cannot be looked into."""
        engine, _, model = turn.subject.partition(" ")
        if self.device == "cpu" or engine != OWN or item.work != "forces" or model.endswith("compiled"):
            return {}
        return turn.worker.ask("traffic", name=item.name + turn.subject)

    def ready(self, item: Item, path: Path) -> list[Turn]:
        """Every subject prepared in its workers; one that cannot is left out and named."""
        turns = []
        for subject, engine, model in self.subjects(item.subjects):
            for allocator in self.allocators:
                self.tell(f"{item.name}: preparing {subject}, {allocator.name}")
                worker = self.worker(engine, allocator)
                job = job_of(model, item, path, self.device)
                try:
                    about = worker.ask("prepare", name=item.name + subject, job=job)
                    (once,) = worker.ask("run", name=item.name + subject, times=1)["wall"]
                except WorkerError as error:
                    self.record.notes.append(f"{item.name}: {subject}, {allocator.name}: {error}")
                    continue
                calls = max(1, min(10, round(BURST / once)))
                turns.append(Turn(subject, allocator.name, worker, about, calls))
        return turns

    def written(self, name: str, frames: list[Atoms]) -> Path:
        path = self.folder / f"{name}.extxyz"
        ase.io.write(path, frames)
        return path


def job_of(model: str, item: Item, path: Path, device: str) -> dict[str, Any]:
    """A serving.Job in plain values."""
    return {
        "model": model,
        "dtype": item.dtype,
        "cutoff": CUTOFF,
        "symbols": list(item.symbols),
        "frames": str(path),
        "work": item.work,
        "device": device,
    }
