"""The shape and the charges of a silver trimer."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cace_qeq.structures import Atoms


@dataclass(frozen=True)
class Shape:
    """Three atoms at rest: one end, the middle one, which stands at the widest angle, and the other end.

    angle      degrees  the widest of the triangle, 60 if equilateral, 180 in a straight chain
    distances  Å        from the middle to both ends, and from end to end
    charges    e        end, middle, end
    energy     eV
    """

    angle: float
    distances: tuple[float, ...]
    charges: tuple[float, ...]
    energy: float

    @property
    def name(self) -> str:
        """What one would call it."""
        if self.angle < 70:
            return "triangle"
        return "open chain" if self.angle > 140 else "bent trimer"


REFERENCE = {
    1: Shape(60.0, (2.737, 2.737, 2.737), (0.333, 0.333, 0.333), -300.5489),
    -1: Shape(155.4, (2.598, 2.598, 5.077), (-0.305, -0.390, -0.305), -315.5608),
}
"""Minima of the engine that labelled the data (GFN1-xTB), by total charge, reached from `bent_trimer`."""

REFERENCE_START = {1: -299.9456, -1: -315.3853}
"""eV  the engine's energies of `bent_trimer`."""

REFERENCE_STRAIGHT = -315.5557
"""eV  the engine's energy of Ag3- relaxed as a straight chain."""


def shape_of(atoms: Atoms) -> Shape:
    """The shape of a trimer whose calculator is attached."""
    middle = middle_atom(atoms.positions)
    first, second = (index for index in range(3) if index != middle)
    order = [first, middle, second]
    pairs = ((first, middle), (middle, second), (first, second))
    charges = atoms.get_charges()
    return Shape(
        widest_angle(atoms.positions),
        tuple(float(atoms.get_distance(*pair)) for pair in pairs),
        tuple(float(charges[index]) for index in order),
        float(atoms.get_potential_energy()),
    )


def opposite_sides(positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3,)  Å  of each atom, the distance between the other two."""
    return np.linalg.norm(np.roll(positions, -1, axis=0) - np.roll(positions, 1, axis=0), axis=1)


def middle_atom(positions: NDArray[np.float64]) -> int:
    """The one at the widest angle."""
    return int(np.argmax(opposite_sides(positions)))


def widest_angle(positions: NDArray[np.float64]) -> float:
    """degrees"""
    middle = middle_atom(positions)
    arms = np.delete(positions, middle, axis=0) - positions[middle]
    cosine = arms[0] @ arms[1] / np.prod(np.linalg.norm(arms, axis=1))
    return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))
