"""How much memory a process has needed."""

import resource
from pathlib import Path


def peak_kilobytes() -> float:
    """Largest resident size since the process began its own program.

    On Linux `ru_maxrss` is no smaller than that of the process that started it, so the kernel's other count is read.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        lines = []
    found = next((line.split()[1] for line in lines if line.startswith("VmHWM:")), None)
    return float(found) if found else float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
