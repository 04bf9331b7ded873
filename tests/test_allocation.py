import subprocess
import sys

import pytest

from cace_qeq.allocation import in_whole_lines

PROGRAM = """
import resource, torch
from cace_qeq.allocation import keep_freed_memory
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    [torch.ones(2**24) for _ in range(20)]  # each of 64 MiB, 16384 pages
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
keep_freed_memory()
faults()
print(faults())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc keeps memory by this rule")
def test_memory_of_tensors_serves_the_next_ones():
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert int(run.stdout) < 4 * 16384  # pages of four of the twenty


LENGTHS = {0: 0, 8: 8, 14: 14, 15: 16, 16: 16, 52: 52, 57: 64, 77: 80}


@pytest.mark.parametrize(("length", "expected"), LENGTHS.items())
def test_rows_end_with_lines_of_the_cache_where_that_costs_little(length, expected):
    assert in_whole_lines(length) == expected
