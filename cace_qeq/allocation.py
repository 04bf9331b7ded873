"""How the process keeps memory between calls."""

import ctypes
import os
import platform
from functools import cache

TRIM_THRESHOLD, MMAP_MAX = -1, -4  # names of the options in the C library's malloc.h
NEVER = -1


@cache
def keep_freed_memory() -> None:
    """Have the C library keep what tensors give back for the tensors of the next block or call, until the process ends.

    glibc maps every block of more than 32 MB anew, and returns what lies free at the end of the heap; every page that
    comes anew costs a fault: measured 98 304 atoms in 0.15 instead of 0.28 ms per atom. A process stays as large as its
    largest structure made it. Nothing happens with another C library, or where MALLOC_ variables are set:
    MALLOC_TRIM_THRESHOLD_=131072 leaves all as it was.
    """
    if platform.libc_ver()[0] != "glibc" or any(name.startswith("MALLOC_") for name in os.environ):
        return
    library = ctypes.CDLL(None)
    library.mallopt(MMAP_MAX, 0)
    library.mallopt(TRIM_THRESHOLD, NEVER)
