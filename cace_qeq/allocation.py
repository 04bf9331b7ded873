"""How the process keeps memory between calls."""

from functools import cache

import torch

LARGEST_THRESHOLD = 31 * 2**20  # bytes; the C library's own limit is 32 MiB


@cache
def keep_freed_memory() -> None:
    """Have the C library keep what tensors give back, up to 62 MB, for the tensors of the next block or call.

    glibc returns freed memory to the system beyond twice the largest mapped block that was freed so far, and every page
    that comes anew costs a fault: measured 3300 faults and 5 ms in a call of 25 ms. One large block that is freed
    raises that limit; where it was set by hand, or by another C library, nothing happens.
    """
    torch.empty(LARGEST_THRESHOLD, dtype=torch.uint8)
