"""What a process needs is its own, whoever started it."""

import subprocess
import sys
from pathlib import Path

import numpy as np

from cace_qeq.benchmark.engines import memory


def test_a_child_does_not_count_the_memory_of_its_parent():
    ballast = np.ones(60_000_000)  # 480 MB, more than a bare interpreter ever has
    command = "from memory import peak_kilobytes; print(peak_kilobytes())"
    folder = Path(memory.__file__).parent
    found = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True, cwd=folder)
    assert memory.peak_kilobytes() > ballast.nbytes / 1024
    assert 1000 < float(found.stdout) < 100_000
