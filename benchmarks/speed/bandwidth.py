"""How fast a GPU moves bytes."""

from statistics import median

import torch

NUMBERS = 2**29  # float32, 2 GB: far more than any cache holds


def copy_bandwidth() -> float:
    """Bytes per second, read and written, of a large copy within the memory of the GPU."""
    source = torch.zeros(NUMBERS, device="cuda")
    target = torch.empty_like(source)
    seconds = [copy_seconds(source, target) for _ in range(10)][3:]
    return 2 * source.nbytes / median(seconds)


def copy_seconds(source: torch.Tensor, target: torch.Tensor) -> float:
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    target.copy_(source)
    end.record()
    end.synchronize()
    return 1e-3 * begin.elapsed_time(end)
