"""Trainings of a comparison: each in the environment of its code, on the files of its set, into a result of its own."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cace_qeq.benchmark.datasets import dataset
from cace_qeq.benchmark.record import write_result
from cace_qeq.benchmark.runs import Finished, Run
from cace_qeq.benchmark.workers import Interpreter, Worker, tuned_allocator
from cace_qeq.files import alone
from cace_qeq.structures import read_frames
from cace_qeq.training.provenance import commit


@dataclass(frozen=True)
class Comparison:
    """Where trainings find codes and frames, and what they leave.

    interpreters  by code
    data          folder of the downloaded sets
    results       folder of one JSON for each training
    states        folder of what a broken training goes on from
    """

    interpreters: dict[str, Interpreter]
    data: Path
    results: Path
    states: Path

    def result(self, one: Run) -> Path:
        """The file of a training, there once it is finished."""
        return self.results / f"{one.name}.json"

    def files(self, name: str) -> dict[str, list[str]]:
        """Checked paths of a set by "train", "valid" and "held_out".

        raises  ValueError for an unknown set or changed files; FileNotFoundError naming their source
        """
        found = dataset(name)
        parts = {"train": found.paths("train", self.data), "valid": found.paths("valid", self.data)}
        parts["held_out"] = found.held_out(self.data)
        return {part: list(map(str, paths)) for part, paths in parts.items()}

    def train(self, one: Run, tell: Callable[[dict[str, float]], None]) -> Finished:
        """Train, or go on with a broken training, evaluate and write the result.

        tell    is told the share of the budget that is done, and errors whenever they are known

        raises  WorkerError for whatever stops the code, BlockingIOError where another process trains the same
        """
        with alone(self.result(one)):
            return self.trained(one, tell)

    def trained(self, one: Run, tell: Callable[[dict[str, float]], None]) -> Finished:
        files = self.files(one.set)
        state, allocator = self.states / f"{one.name}.pt", tuned_allocator()  # which helps peers most
        plan = {**one.plan(files, symbols(files["train"]), state), "box": dataset(one.set).box}
        with Worker(one.engine, self.interpreters[one.engine], allocator, tell) as worker:
            versions = worker.ask("versions")
            result = worker.ask("fit", plan={**plan, "code": {**versions, "commit": commit()}})
        held_out = "valid" if files["held_out"] == files["valid"] else "test"
        about = {
            "run": one.values(),
            "held_out": held_out,
            "threads_per_process": 1,
            "allocator": allocator.description,
        }
        write_result(self.result(one), {**about, "result": result, "versions_of_code": versions})
        state.unlink(missing_ok=True)
        return Finished(one, result, held_out)


def symbols(paths: list[str]) -> list[str]:
    """Of the elements, by atomic number."""
    frames = [atoms for path in paths for atoms in read_frames(path)]
    pairs = {pair for atoms in frames for pair in zip(atoms.numbers, atoms.get_chemical_symbols(), strict=True)}
    return [symbol for _, symbol in sorted(pairs)]
