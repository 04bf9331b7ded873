"""Slabs, periodic in two directions: the cell with vacuum that their Coulomb sums are done in.

Floor zero, beside `lattice`: structures and electrostatics both plan sums here.
"""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cace_qeq.lattice import EwaldPlan, optimal_split, plan_ewald_with_split

Floats = NDArray[np.float64]
MARGIN = 1.0  # Å, by which a slab may grow thicker before its sums are planned anew


def plan_slab(
    cell: Floats,
    pbc: NDArray[np.bool_],
    positions: Floats,
    largest_width: float,
    accuracy: float,
    margin: float = MARGIN,
) -> EwaldPlan:
    """As `plan_ewald`, and the height of the closed cell; the vector of the open direction counts for nothing.

    margin  Å, by which the slab may grow thicker

    What is left of a slab's own images falls off like exp(-k h), with h the vacuum between them and k the shortest
    reciprocal vector of the plane. Real-space pairs are those of the plane alone, so h also covers the cutoff.
    """
    vectors = cell[pbc]
    area = float(np.linalg.norm(np.cross(*vectors)))
    thickness = thickness_of(cell, pbc, positions)
    gap = -np.log(accuracy) / (2 * np.pi * shortest(np.linalg.pinv(vectors).T))
    split = optimal_split(area * (thickness + gap), len(positions))
    cutoff = plan_ewald_with_split(np.eye(3), split, largest_width, accuracy).cutoff
    height = thickness + max(gap, cutoff) + margin
    closed, _ = closed_cells(torch.tensor(cell * pbc[:, None])[None], torch.tensor(pbc)[None], torch.tensor([height]))
    return replace(plan_ewald_with_split(closed[0].numpy(), split, largest_width, accuracy), height=height)


def thickness_of(cell: Floats, pbc: NDArray[np.bool_], positions: Floats) -> float:
    """Å, of a slab between its outermost positions."""
    normal = np.cross(*cell[pbc])
    return float(np.ptp(positions @ normal / np.linalg.norm(normal)))


def closed_cells(cells: Tensor, pbc: Tensor, height: Tensor) -> tuple[Tensor, Tensor]:
    """Cells of slabs with a vector along the normal in the place of their open direction.

    cells    (structure, 3, 3)  Å, zeros in open directions
    pbc      (structure, 3)     bool
    height   (structure,)       Å, zero unless a slab
    returns  (structure, 3, 3)  the cells, all but slabs' as they were
             (structure, 3)     unit vectors normal to the slabs, zeros for all else
    """
    slabs = height.nonzero().flatten()
    if not len(slabs):
        return cells, torch.zeros_like(cells[:, 0])
    axis = (~pbc[slabs]).to(torch.int64).argmax(1)
    first, second = cells[slabs, (axis + 1) % 3], cells[slabs, (axis + 2) % 3]
    normal = torch.linalg.cross(first, second)
    normal = normal / normal.norm(dim=1, keepdim=True)
    missing = torch.nn.functional.one_hot(axis, 3).to(cells.dtype) * height[slabs].unsqueeze(1)
    closing = missing.unsqueeze(2) * normal.unsqueeze(1)
    return cells.index_add(0, slabs, closing), torch.zeros_like(cells[:, 0]).index_add(0, slabs, normal)


def shortest(vectors: NDArray[np.floating]) -> float:
    """Length of the shortest vector of a lattice in the plane, by Lagrange's reduction.

    vectors  (2, 3)
    """
    one, other = sorted(vectors, key=lambda vector: float(vector @ vector))
    while True:
        other = other - np.round(other @ one / (one @ one)) * one
        if other @ other >= (1 - 1e-12) * (one @ one):
            return float(np.linalg.norm(one))
        one, other = other, one
