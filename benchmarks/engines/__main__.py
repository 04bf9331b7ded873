"""`python benchmarks/engines NAME`: the process of one code, see `serving`."""

import importlib
import os
import sys

from serving import serve

if __name__ == "__main__":
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever libraries print, from their import on
    serve(importlib.import_module(f"{sys.argv[1]}_engine").ENGINE, sys.stdin, answers)
