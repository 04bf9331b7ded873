"""Neighbours as a table."""

import torch

from cace_qeq.allocation import in_whole_lines
from cace_qeq.neighbors import Pairs
from cace_qeq.structures.table import Neighbors


def padded_table(pairs: Pairs, n_atoms: int) -> Neighbors:
    """Pairs, sorted by center, as one row per receiver."""
    counts = torch.bincount(pairs.center, minlength=n_atoms)
    longest = in_whole_lines(int(counts.max()))
    slot = torch.arange(len(pairs.center)) - (counts.cumsum(0) - counts)[pairs.center]
    index = torch.arange(n_atoms).unsqueeze(1).repeat(1, longest)
    shift = torch.zeros(n_atoms, longest, 3, dtype=torch.int64)
    mask = torch.zeros(n_atoms, longest, dtype=torch.bool)
    index[pairs.center, slot] = pairs.neighbor
    shift[pairs.center, slot] = pairs.shift
    mask[pairs.center, slot] = True
    return Neighbors(index, shift, mask)
