"""Processes that time models, each with an interpreter and a memory allocator of its own."""

import ctypes.util
import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

ENGINES = Path(__file__).resolve().parents[1] / "engines"
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


class WorkerError(RuntimeError):
    """A process could not do what it was asked, or is gone."""


class Worker:
    """One process; ends with the `with` block."""

    def __init__(self, engine: str, interpreter: Interpreter, allocator: Allocator):
        self.engine = engine
        self.process = subprocess.Popen(
            [interpreter.python, str(ENGINES), engine],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **THREADS, **interpreter.environment, **allocator.environment},
        )

    def ask(self, do: str, **details: Any) -> dict[str, Any]:
        """raises  WorkerError"""
        assert self.process.stdin and self.process.stdout
        try:
            print(json.dumps({"do": do, **details}), file=self.process.stdin, flush=True)
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            code = self.process.wait()
            raise WorkerError(f"{self.engine}: the process ended with code {code}; is {self.engine} installed in it?")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise WorkerError(f"{self.engine}: {answer['error']}")
        return answer

    def __enter__(self) -> "Worker":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()
