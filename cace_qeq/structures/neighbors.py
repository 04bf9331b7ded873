"""Neighbour lists; the only door to matscipy."""

import numpy as np
import torch
from matscipy.neighbours import neighbour_list
from numpy.typing import NDArray

from cace_qeq.structures.batch import Neighbors, Pairs

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

BOX_MARGIN = 1.0  # Å between the atoms and the walls of the box along open directions


def neighbor_pairs(positions: Floats, cell: Floats, pbc: Flags, cutoff: float) -> Pairs:
    """All pairs closer than the cutoff, in both directions, images of an atom with itself included.

    positions  (atom, 3)  Å, inside the cell or not
    cell       (3, 3)     Å, rows are lattice vectors, any handedness; those of open directions are ignored
    pbc        (3,)       periodic directions, those of the rows of the cell
    cutoff                Å
    """
    box, origin = surrounding_box(positions, cell, pbc)
    center, neighbor, shift = neighbour_list(
        "ijS", positions=positions - origin, cell=box, pbc=pbc, cutoff=float(cutoff)
    )
    order = np.argsort(center, kind="stable")
    parts = (np.asarray(part, dtype=np.int64)[order] for part in (center, neighbor, shift))
    return Pairs(*(torch.from_numpy(part) for part in parts))


def each_once(pairs: Pairs) -> Pairs:
    """One of both directions of every pair."""
    center, neighbor, (first, second, third) = pairs.center, pairs.neighbor, pairs.shift.unbind(1)
    leading = torch.where(first != 0, first, torch.where(second != 0, second, third))
    kept = ((center < neighbor) | ((center == neighbor) & (leading > 0))).nonzero().flatten()
    return Pairs(center[kept], neighbor[kept], pairs.shift[kept])


def surrounding_box(positions: Floats, cell: Floats, pbc: Flags) -> tuple[Floats, Floats]:
    """A cell in which matscipy finds every atom, and its corner.

    Periodic vectors stay; open directions get vectors perpendicular to them and long enough for all atoms,
    because matscipy loses atoms outside the cell, or without any.
    """
    if pbc.all():
        return cell, np.zeros(3)
    n_periodic = int(pbc.sum())
    normals = np.linalg.svd(cell[pbc])[2][n_periodic:] if n_periodic else np.eye(3)
    heights = positions @ normals.T
    box = cell.copy()
    box[~pbc] = normals * (np.ptp(heights, axis=0) + 2 * BOX_MARGIN)[:, None]
    return box, (heights.min(axis=0) - BOX_MARGIN) @ normals


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
