"""Neighbour lists; the only door to vesin.

Floor zero: structures and electrostatics both list pairs here.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from vesin import NeighborList

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Integers = NDArray[np.int64]

CLOSEST = 1e-3  # Å; nearer atoms, or charges on them, are a mistake in the input
CLOSEST_IN_WIDTHS = 1e-2  # of a pair of charges, whose interaction is that of charges at one place but for 2e-5
CLOSED_GAP = 1.01  # cutoffs
MOST_CELLS = 1e5  # of vesin
DENSEST = 5.0  # 1/Å³, atoms of a cell that has not collapsed; diamond has 0.18
THINNEST = 1.0  # Å, along directions in which a structure is not periodic


@dataclass(frozen=True)
class Pairs:
    """Pairs of atoms, sorted by center.

    center    (pair,)    int64
    neighbor  (pair,)    int64
    shift     (pair, 3)  int64  lattice vectors added to the neighbour
    """

    center: Tensor
    neighbor: Tensor
    shift: Tensor

    @cached_property
    @torch.inference_mode(False)
    def shift_components(self) -> Tensor:
        """(3, pair)  float64  the same numbers as distances are made of"""
        return self.shift.T.to(torch.float64, memory_format=torch.contiguous_format)


def closest(first: Tensor, second: Tensor) -> Tensor:
    """Å, below which two atoms are a mistake in the input: what is around them hardly tells their charges apart.

    first, second  Å  widths σ of their Gaussian charges; 0 without charges
    """
    return (CLOSEST_IN_WIDTHS * torch.hypot(first, second)).clamp(min=CLOSEST)


def neighbor_pairs(positions: Floats, cell: Floats, pbc: Flags, cutoff: float) -> Pairs:
    """All pairs closer than the cutoff, in both directions, images of an atom with itself included.

    The nearest of each center come first: those beyond a shorter cutoff can be left out of rows.

    positions  (atom, 3)  Å, inside the cell or not
    cell       (3, 3)     Å, rows are lattice vectors, any handedness; those of open directions are ignored
    pbc        (3,)       periodic directions, those of the rows of the cell
    cutoff                Å

    Raises ValueError for a structure that is too wide and flat, and for a cell that has collapsed.
    """
    return neighbor_pairs_and_distances(positions, cell, pbc, cutoff)[0]


def neighbor_pairs_and_distances(positions: Floats, cell: Floats, pbc: Flags, cutoff: float) -> tuple[Pairs, Floats]:
    """The same, and how far each pair is apart, (pair,) Å."""
    first, second, shift, apart = _listed(positions, cell, pbc, cutoff)
    center, distances = np.concatenate([first, second]), np.concatenate([apart, apart])
    order = (center * (1.0 + cutoff) + distances).argsort()
    neighbor, shifts = np.concatenate([second, first])[order], np.concatenate([shift, -shift])[order]
    return Pairs(*map(torch.from_numpy, (center[order], neighbor, shifts))), distances[order]


def pairs_once(positions: Floats, cell: Floats, pbc: Flags, cutoff: float) -> Pairs:
    """As `neighbor_pairs`, each pair once, its center not above its neighbour; those of a center in any order."""
    first, second, shift, _ = _listed(positions, cell, pbc, cutoff)
    order = first.argsort(kind="stable")
    return Pairs(*(torch.from_numpy(part[order]) for part in (first, second, shift)))


def _listed(positions: Floats, cell: Floats, pbc: Flags, cutoff: float) -> tuple[Integers, Integers, Integers, Floats]:
    """Each pair once, the center not above the neighbour, and its distance (Å); half the time of both directions."""
    directions = open_directions(cell, pbc)
    refuse_collapsed(positions, cell[pbc], directions)
    near = without_gaps(positions, directions, cutoff)
    refuse_too_flat(near, cell[pbc], directions, cutoff)
    search = NeighborList(cutoff=cutoff, full_list=False, n_threads=torch.get_num_threads())
    first, second, shift, distances = search.compute(near, cell, pbc, "ijSd")
    first, second, shift = first.astype(np.int64), second.astype(np.int64), shift.astype(np.int64)
    turned = first > second  # none is in vesin 0.6, which promises nothing
    if turned.any():
        first, second = np.minimum(first, second), np.maximum(first, second)
        shift[turned] *= -1
    return first, second, shift, distances


def without_gaps(positions: Floats, directions: Floats, cutoff: float) -> Floats:
    """Positions that have the same pairs, with gaps along open directions closed to a little more than the cutoff.

    vesin allots cells to empty space too: far fragments would take forever.
    """
    heights = positions @ directions.T
    order = heights.argsort(axis=0)
    gaps = np.diff(np.take_along_axis(heights, order, axis=0), axis=0)
    closed = np.maximum(gaps - CLOSED_GAP * cutoff, 0.0).cumsum(axis=0)
    if not closed.any():
        return positions
    shifts = np.zeros_like(heights)
    np.put_along_axis(shifts, order[1:], closed, axis=0)
    return positions - shifts @ directions


def open_directions(cell: Floats, pbc: Flags) -> Floats:
    """(direction, 3)  unit vectors perpendicular to all periodic ones and to each other"""
    n_periodic = int(pbc.sum())
    return np.linalg.svd(cell[pbc])[2][n_periodic:] if n_periodic else np.eye(3)


def refuse_collapsed(positions: Floats, vectors: Floats, directions: Floats) -> None:
    """Raise ValueError for a cell so small that its images would take hours and all memory to list.

    vectors     (periodic, 3)  Å, lattice vectors of periodic directions
    directions  (open, 3)      unit vectors
    """
    if not len(vectors):
        return
    content = float(np.sqrt(max(np.linalg.det(vectors @ vectors.T), 0.0)))  # length, area or volume
    volume = content * float(np.maximum(np.ptp(positions @ directions.T, axis=0), THINNEST).prod())
    if len(positions) > DENSEST * volume:
        raise ValueError(
            f"the cell {vectors.tolist()} holds {len(positions)} atoms in {content:.3g} Å^{len(vectors)}, more than "
            f"{DENSEST:g} in each Å³; the cell has collapsed or is in other units"
        )


def refuse_too_flat(positions: Floats, vectors: Floats, directions: Floats, cutoff: float) -> None:
    """Raise ValueError where vesin, which brings the number of its cells down alike along all directions, would be
    left with none along one and end the process.

    vectors  (periodic, 3)  Å, lattice vectors of periodic directions
    """
    periodic = 1 / np.linalg.norm(np.linalg.pinv(vectors), axis=0) if len(vectors) else []
    extents = [*periodic, *np.ptp(positions @ directions.T, axis=0)]
    counts = np.maximum(np.array(extents) / cutoff, 1.0)
    if counts.prod() > MOST_CELLS and counts.min() < (counts.prod() / MOST_CELLS) ** (1 / 3):
        spread = " × ".join(f"{extent:.3g}" for extent in extents)
        raise ValueError(
            f"the structure is spread over {spread} Å, too wide and flat for neighbours within {cutoff:g} Å to be "
            f"found; expected fewer than {MOST_CELLS:g} regions of that size"
        )
