import subprocess
import sys

import pytest

PROGRAM = """
import resource, torch
from cace_qeq.allocation import keep_freed_memory
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(2**24)  # 64 MiB, 16384 pages
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
keep_freed_memory()
for _ in range(3):
    torch.ones(2**24)
print(faults())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc keeps memory by this rule")
def test_memory_of_a_tensor_serves_the_next_one():
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert int(run.stdout) < 4 * 16384  # pages of four of the twenty tensors
