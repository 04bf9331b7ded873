"""`python .../cace_qeq/benchmark/engines NAME`: the process of one code, see `serving`."""

import importlib
import os
import sys
from pathlib import Path

if __name__ == "__main__":
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever libraries print, from their import on
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    importlib.import_module("engines")
    del sys.path[0]  # a package now, it finds its own files; what else lies beside it is nobody's business
    engine = importlib.import_module(f"engines.{sys.argv[1]}_engine").ENGINE
    importlib.import_module("engines.serving").serve(engine, sys.stdin, answers)
