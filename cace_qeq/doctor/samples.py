"""Small structures of a model's elements, for models that come without one. Nothing about them is symmetric."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cace_qeq.nn.elements import COVALENT_RADII
from cace_qeq.structures import Atoms

SITES = 8  # of the crystal's cell, a grid of 2 × 2 × 2
SMALLEST_MOLECULE = 5  # atoms
STRETCH = 1.15  # of distances, in covalent radii
DISPLACEMENT = 0.05  # of the distance between sites
SKEWED = np.array([[1.0, 0.10, -0.08], [0.28, 0.95, 0.05], [-0.20, 0.25, 1.05]])


def samples(species: Sequence[int]) -> dict[str, Atoms]:
    """A molecule, the same charged, a skewed crystal and a slab of it; of more than eight elements, eight.

    species  atomic numbers
    """
    elements = list(species) if len(species) <= SITES else [species[i] for i in spread(len(species))]
    few = [elements[i % len(elements)] for i in range(max(SMALLEST_MOLECULE, len(elements)))]
    many = [elements[i % len(elements)] for i in range(SITES)]
    slab = grid(many)
    slab.pbc[2] = False
    molecules = {"molecule": helix(few, 0.0), "charged molecule": helix(few, 1.0)}
    return {**molecules, "skewed crystal": grid(many), "skewed slab": slab}


def spread(count: int) -> list[int]:
    """Eight indices from the first to the last."""
    return [int(index) for index in np.linspace(0, count - 1, SITES).round()]


def helix(numbers: Sequence[int], total_charge: float) -> Atoms:
    """Every atom one bond from the last, on a line that winds upwards and away from itself."""
    radii = radii_of(numbers)
    turn, rise = 1.9 * np.arange(1, len(numbers)), np.full(len(numbers) - 1, 0.45)
    directions = np.stack([0.89 * np.cos(turn), 0.89 * np.sin(turn), rise], axis=1)
    bonds = STRETCH * (radii[1:] + radii[:-1])
    places = np.concatenate([np.zeros((1, 3)), np.cumsum(bonds[:, None] * directions, axis=0)])
    return Atoms(numbers, places, info={"charge": total_charge})


def grid(numbers: Sequence[int]) -> Atoms:
    """Eight atoms in a skewed cell, each a little off its place."""
    radii = radii_of(numbers)
    spacing = STRETCH * (radii.mean() + radii.max())
    fractions = np.array(list(np.ndindex(2, 2, 2))) / 2
    moves = DISPLACEMENT * spacing * np.random.default_rng(0).uniform(-1, 1, size=(SITES, 3))
    cell = 2 * spacing * SKEWED
    return Atoms(numbers, fractions @ cell + moves, cell=cell, pbc=True, info={"charge": 0.0})


def radii_of(numbers: Sequence[int]) -> NDArray[np.float64]:
    """(atom,)  Å"""
    return np.array([COVALENT_RADII[number] for number in numbers])
