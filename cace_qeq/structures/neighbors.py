"""Neighbour lists; the only door to vesin."""

import numpy as np
import torch
from numpy.typing import NDArray
from vesin import NeighborList

from cace_qeq.structures.batch import Neighbors, Pairs

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


def neighbor_pairs(positions: Floats, cell: Floats, pbc: Flags, cutoff: float) -> Pairs:
    """All pairs closer than the cutoff, in both directions, images of an atom with itself included.

    positions  (atom, 3)  Å, inside the cell or not
    cell       (3, 3)     Å, rows are lattice vectors, any handedness; those of open directions are ignored
    pbc        (3,)       periodic directions, those of the rows of the cell
    cutoff                Å
    """
    search = NeighborList(cutoff=cutoff, full_list=True, sorted=True, n_threads=torch.get_num_threads())
    found = search.compute(positions, cell, pbc, "ijS")
    return Pairs(*(torch.from_numpy(part.astype(np.int64)) for part in found))


def each_once(pairs: Pairs) -> Pairs:
    """One of both directions of every pair."""
    center, neighbor, (first, second, third) = pairs.center, pairs.neighbor, pairs.shift.unbind(1)
    leading = torch.where(first != 0, first, torch.where(second != 0, second, third))
    kept = ((center < neighbor) | ((center == neighbor) & (leading > 0))).nonzero().flatten()
    return Pairs(center[kept], neighbor[kept], pairs.shift[kept])


def padded_table(pairs: Pairs, n_atoms: int) -> Neighbors:
    """Pairs, sorted by center, as one row per receiver."""
    counts = torch.bincount(pairs.center, minlength=n_atoms)
    longest = int(counts.max())
    slot = torch.arange(len(pairs.center)) - (counts.cumsum(0) - counts)[pairs.center]
    index = torch.arange(n_atoms).unsqueeze(1).repeat(1, longest)
    shift = torch.zeros(n_atoms, longest, 3, dtype=torch.int64)
    mask = torch.zeros(n_atoms, longest, dtype=torch.bool)
    index[pairs.center, slot] = pairs.neighbor
    shift[pairs.center, slot] = pairs.shift
    mask[pairs.center, slot] = True
    return Neighbors(index, shift, mask)
