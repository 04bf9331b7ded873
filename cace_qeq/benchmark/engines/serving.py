"""A process that holds one code's models and does what it is told: one line of JSON in, one line of JSON out.

Every code runs in an environment of its own, so this file needs no more than Python, torch and ase; a code adds
an `Engine`.

    {"do": "prepare", "name": ..., "job": {...}}   ->  {"parameters": 69693, "seconds": 0.8}
    {"do": "run", "name": ..., "times": 3}         ->  {"cpu": [0.021, ...], "wall": [0.021, ...]}
    {"do": "forget", "name": ...}                  ->  {}
    {"do": "peak"}                                 ->  {"kilobytes": 412000}, of the GPU where the job is there
    {"do": "traffic", "name": ...}                 ->  {"bytes": 81000000}, what operations read and write
    {"do": "versions"}                             ->  {"torch": "2.13.0", ...}
    {"do": "fit", "plan": {...}}                   ->  {"told": {"done": 0.25}}, ..., and the result of `fitting.Fit`

Jobs are described in `job`, trainings in `plan`.
"""

import json
import os
import time
import traceback
from collections.abc import Callable
from importlib.metadata import distributions
from typing import Any, Protocol, TextIO

import ase.io
import numpy as np
import torch
from ase import Atoms, units
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.md.verlet import VelocityVerlet
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from .fitting import Fit, Learner, Tell
from .job import Job
from .memory import peak_kilobytes
from .plan import FitPlan

Step = Callable[[], Any]
PACKAGES = ("torch", "numpy", "ase", "vesin", "matscipy", "e3nn", "nequip", "mace-torch", "cace", "pytorch_optimizer")
MOVE = 0.01  # Å, root mean square move of an atom between two calls through ASE; about one step of dynamics


class Engine(Learner, Protocol):
    """One code. All weights are random: time does not depend on them."""

    def load(self, job: Job) -> int:
        """Build the model and return its number of parameters."""

    def forces(self, frames: list[Atoms]) -> Step:
        """Energy, forces and stress of prepared input: neighbours are found outside the step."""

    def train(self, frames: list[Atoms]) -> Step:
        """One step of Adam on a loss of energy and forces, of all frames as one batch."""

    def calculator(self, atoms: Atoms, keep_neighbors: bool) -> Any:
        """The code's own ASE calculator for these atoms; neighbours are kept between calls only if allowed."""


def calls_through_ase(atoms: Atoms, calculator: Any) -> Step:
    """Energy and forces of atoms that have moved a little since the last call."""
    atoms.calc = calculator
    random = np.random.default_rng(0)
    start = atoms.positions.copy()

    def step() -> None:
        atoms.positions = start + MOVE * random.standard_normal(start.shape)
        atoms.get_forces()
        atoms.get_potential_energy()

    return step


def dynamics(atoms: Atoms, calculator: Any) -> Step:
    """One step of NVE. Forces of random weights may be anything, so they are scaled to a harmless size."""
    atoms.calc = Tamed(calculator)
    MaxwellBoltzmannDistribution(atoms, temperature_K=300, rng=np.random.default_rng(0))
    integrator = VelocityVerlet(atoms, 0.5 * units.fs)
    return lambda: integrator.run(1)


class Tamed:
    """A calculator whose forces are multiplied by 1e-3: atoms fly freely, and the code does all its work."""

    def __init__(self, calculator: Any):
        self.calculator = calculator

    def get_forces(self, atoms: Atoms) -> Any:
        return 1e-3 * self.calculator.get_forces(atoms)

    def get_potential_energy(self, atoms: Atoms, **options: Any) -> float:
        return float(self.calculator.get_potential_energy(atoms))

    def calculation_required(self, atoms: Atoms, properties: Any) -> bool:
        return True


WORK: dict[str, Callable[[Engine, list[Atoms]], Step]] = {
    "forces": lambda engine, frames: engine.forces(frames),
    "train": lambda engine, frames: engine.train(frames),
    "ase": lambda engine, frames: calls_through_ase(frames[0], engine.calculator(frames[0], True)),
    "ase_anew": lambda engine, frames: calls_through_ase(frames[0], engine.calculator(frames[0], False)),
    "dynamics": lambda engine, frames: dynamics(frames[0], engine.calculator(frames[0], True)),
}


class Traffic(TorchDispatchMode):
    """Counts what operations that touch memory read and write; views and allocations do not."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.is_view and "empty" not in func.name():
            tensors = [each for each in tree_leaves((args, kwargs, result)) if isinstance(each, torch.Tensor)]
            self.bytes += sum(min(t.nbytes, t.untyped_storage().nbytes()) for t in tensors)  # expanded ones are small
        return result


class Server:
    """The steps prepared so far, by name."""

    def __init__(self, engine: Callable[[], Engine], tell: Tell):
        self.engine, self.tell = engine, tell
        self.steps: dict[str, Step] = {}

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Raises ValueError for a request that is none of REQUESTS."""
        if request["do"] not in REQUESTS:
            raise ValueError(f"request {request['do']!r}: expected one of {', '.join(REQUESTS)}")
        return REQUESTS[request["do"]](self, request)

    def prepare(self, request: dict[str, Any]) -> dict[str, Any]:
        """Everything that is done once, compilation included; the first call belongs to it."""
        started = time.perf_counter()
        job = Job.of(request["job"])
        torch.manual_seed(0)
        engine = self.engine()
        parameters = engine.load(job)
        frames = [bare(atoms) for atoms in ase.io.read(job.frames, ":")]
        self.steps[request["name"]] = WORK[job.work](engine, frames)
        self.steps[request["name"]]()
        return {"parameters": parameters, "seconds": time.perf_counter() - started}

    def run(self, request: dict[str, Any]) -> dict[str, Any]:
        """Seconds of each call; on a busy machine a process waits, and its CPU time stands still."""
        cpu, wall = zip(*(seconds(self.steps[request["name"]]) for _ in range(request["times"])), strict=True)
        return {"cpu": cpu, "wall": wall}

    def forget(self, request: dict[str, Any]) -> dict[str, Any]:
        del self.steps[request["name"]]
        return {}

    def peak(self, request: dict[str, Any]) -> dict[str, Any]:
        """Largest resident size that the process has had; on a GPU the largest size of its tensors there."""
        if torch.cuda.is_initialized():
            return {"kilobytes": torch.cuda.max_memory_allocated() / 1000}
        return {"kilobytes": peak_kilobytes()}

    def traffic(self, request: dict[str, Any]) -> dict[str, Any]:
        """Bytes of the tensors that the operations of a step read and write."""
        with Traffic() as traffic:
            self.steps[request["name"]]()
        return {"bytes": traffic.bytes}

    def fit(self, request: dict[str, Any]) -> dict[str, Any]:
        return Fit(self.engine(), FitPlan.of(request["plan"]), self.tell).run()

    def versions(self, request: dict[str, Any]) -> dict[str, Any]:
        installed: dict[str, str] = {}
        for package in distributions():
            installed.setdefault(package.name, package.version)  # the first on the path is what is imported
        return {name: installed[name] for name in PACKAGES if name in installed}


REQUESTS = {
    "prepare": Server.prepare,
    "run": Server.run,
    "forget": Server.forget,
    "peak": Server.peak,
    "traffic": Server.traffic,
    "versions": Server.versions,
    "fit": Server.fit,
}


def bare(atoms: Atoms) -> Atoms:
    """Nothing but the structure."""
    return Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)


def seconds(step: Step) -> tuple[float, float]:
    """CPU time of the process, the system's share included, and time on the clock until all work is done."""
    finish = torch.cuda.synchronize if torch.cuda.is_initialized() else lambda: None
    finish()
    cpu, wall = time.process_time(), time.perf_counter()
    step()
    finish()
    return time.process_time() - cpu, time.perf_counter() - wall


def serve(engine: Callable[[], Engine], requests: TextIO, answers: TextIO) -> None:
    """Answer requests until they end. The caller sets the number of threads in the environment."""
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))

    def say(answer: dict[str, Any]) -> None:
        print(json.dumps(answer), file=answers, flush=True)

    server = Server(engine, lambda row: say({"told": row}))
    for line in requests:
        try:
            say(server.answer(json.loads(line)))
        except Exception as error:  # whatever another code raises belongs in the answer
            traceback.print_exc()
            say({"error": f"{type(error).__name__}: {error}"})
