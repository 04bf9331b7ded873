"""Neighbours as a table."""

import torch

from cace_qeq.allocation import in_whole_lines
from cace_qeq.neighbors import Pairs
from cace_qeq.structures.table import Neighbors


def padded_table(pairs: Pairs, n_atoms: int) -> Neighbors:
    """Pairs, sorted by center, as one row per receiver."""
    counts = torch.bincount(pairs.center, minlength=n_atoms)
    longest = in_whole_lines(int(counts.max()))
    mask = torch.arange(longest) < counts.unsqueeze(1)
    index = torch.arange(n_atoms).unsqueeze(1).repeat(1, longest)
    shift = torch.zeros(n_atoms, longest, 3, dtype=torch.int64)
    index.masked_scatter_(mask, pairs.neighbor)
    shift.masked_scatter_(mask.unsqueeze(2), pairs.shift)
    return Neighbors(index, shift, mask)
