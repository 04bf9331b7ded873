"""Neighbours found by looking at every pair of atoms in every image; the oracle of the neighbour lists."""

import itertools

import numpy as np
from ase import Atoms

Bond = tuple[int, ...]  # center, neighbor, three lattice shifts


def bonds_of(atoms: Atoms, cutoff: float) -> set[Bond]:
    """All pairs closer than the cutoff."""
    shifts = possible_shifts(atoms, cutoff)
    images = shifts @ atoms.cell.array
    bonds = set()
    for center, neighbor in itertools.product(range(len(atoms)), repeat=2):
        distances = np.linalg.norm(atoms.positions[neighbor] - atoms.positions[center] + images, axis=1)
        close = shifts[distances < cutoff].tolist()
        bonds |= {(center, neighbor, *shift) for shift in close if center != neighbor or any(shift)}
    return bonds


def possible_shifts(atoms: Atoms, cutoff: float) -> np.ndarray:
    """Every image that can be in reach: the height of a pair above a lattice plane is at most its length."""
    reach = cutoff + np.linalg.norm(np.ptp(atoms.positions, axis=0))
    counts = np.zeros(3, dtype=int)
    vectors = atoms.cell.array[atoms.pbc]
    if len(vectors):
        duals = np.linalg.pinv(vectors)  # columns; 1 / their length is the distance of lattice planes
        counts[atoms.pbc] = np.ceil(reach * np.linalg.norm(duals, axis=0)).astype(int)
    return np.array(list(itertools.product(*(range(-count, count + 1) for count in counts))))
