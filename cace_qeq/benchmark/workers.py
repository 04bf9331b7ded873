"""Processes that time and train models, each with an interpreter and a memory allocator of its own."""

import ctypes.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

ENGINES = Path(__file__).resolve().parent / "engines"
ROOT = ENGINES.parents[2]
OWN, PEERS = "cace_qeq", ("nequip", "mace", "cace")
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
# glibc hands every large block back to the system and takes it anew, page faults included; these settings keep it.
GLIBC = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(64 << 30), "MALLOC_TOP_PAD_": str(64 << 20)}


@dataclass(frozen=True)
class Allocator:
    """Environment variables that choose how a process gets its memory."""

    name: str
    description: str
    environment: dict[str, str]


@dataclass(frozen=True)
class Interpreter:
    """A Python in whose environment a code is installed, or can be found by `environment`."""

    python: str
    environment: dict[str, str]


DEFAULT = Allocator("default", "glibc as it comes", {})


def tuned_allocator() -> Allocator:
    """jemalloc or tcmalloc if the system has one, otherwise glibc with settings that keep memory."""
    for name in ("jemalloc", "tcmalloc", "tcmalloc_minimal"):
        if library := ctypes.util.find_library(name):
            return Allocator("tuned", name, {"LD_PRELOAD": library})
    return Allocator("tuned", "glibc, " + " ".join(f"{name}={value}" for name, value in GLIBC.items()), GLIBC)


def interpreters_of(peers: str, pythons: list[str], cace: Path | None) -> dict[str, Interpreter]:
    """By engine: this package here, peers where they are said to be, otherwise here too.

    pythons  PEER=PATH
    cace     a checkout of CACE, if that is wanted too

    raises  ValueError for a peer that is not known
    """
    given = {name: path for name, _, path in (text.partition("=") for text in pythons)}
    names = [*filter(None, peers.split(",")), *(["cace"] if cace else [])]
    for text in pythons:
        if not text.partition("=")[2]:
            raise ValueError(f"--peer-python {text}: expected PEER=PATH, e.g. nequip=peers/nequip/bin/python.")
    unknown = (set(names) | set(given)) - set(PEERS)
    if unknown:
        raise ValueError(f"there is no peer {sorted(unknown)[0]!r}; choose of {', '.join(PEERS)}.")
    found = {OWN: Interpreter(sys.executable, {"PYTHONPATH": str(ROOT)})}
    for name in names:
        environment = {"PYTHONPATH": str(cace.resolve())} if name == "cace" and cace else {}
        found[name] = Interpreter(given.get(name, sys.executable), environment)
    return found


class WorkerError(RuntimeError):
    """A process could not do what it was asked, or is gone."""


class Worker:
    """One process; ends with the `with` block, at once if that fails.

    tell  is told what the process says while it works
    """

    def __init__(
        self,
        engine: str,
        interpreter: Interpreter,
        allocator: Allocator,
        tell: Callable[[dict[str, float]], None] = lambda row: None,
    ):
        self.engine, self.tell = engine, tell
        self.complaints = tempfile.TemporaryFile("w+")  # noqa: SIM115  closed by __exit__
        self.process = subprocess.Popen(
            [interpreter.python, str(ENGINES), engine],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.complaints,
            text=True,
            env={**os.environ, **THREADS, **interpreter.environment, **allocator.environment},
        )

    def ask(self, do: str, **details: Any) -> dict[str, Any]:
        """raises  WorkerError"""
        assert self.process.stdin
        try:
            print(json.dumps({"do": do, **details}), file=self.process.stdin, flush=True)
            answer = self.answer()
            while "told" in answer:
                self.tell(answer["told"])
                answer = self.answer()
        except BrokenPipeError:
            answer = self.ended()
        if "error" in answer:
            raise WorkerError(f"{self.engine}: {answer['error']}")
        return answer

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout
        line = self.process.stdout.readline()
        return dict(json.loads(line)) if line else self.ended()

    def ended(self) -> dict[str, Any]:
        code = self.process.wait()
        self.complaints.seek(0)
        last = self.complaints.read().strip().rpartition("\n")[2]
        return {"error": f"the process ended with code {code}; {last or 'is the code installed in it?'}"}

    def __enter__(self) -> "Worker":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.process.stdin and self.process.stdout
        if error is not None:
            self.process.terminate()
        with suppress(BrokenPipeError):  # of a process that is gone
            self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        self.complaints.close()
