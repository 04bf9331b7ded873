"""What time is measured on: boxes of water at 1 g/cc, and ethanol."""

import numpy as np
from ase import Atoms, units
from ase.build import molecule
from numpy.typing import NDArray

GRAM_PER_CC = units.kg / 1e3 / (units.m / 1e2) ** 3  # u/Å³
SPREAD = 0.1  # Å, of the molecules about the points of a cubic grid


def water_box(n_per_side: int, seed: int) -> Atoms:
    """n³ molecules at 1 g/cc, each turned at random, near the points of a cubic grid."""
    random = np.random.default_rng(seed)
    single = molecule("H2O")
    single.positions -= single.get_center_of_mass()
    spacing = (single.get_masses().sum() / GRAM_PER_CC) ** (1 / 3)
    centers = spacing * np.array(list(np.ndindex(n_per_side, n_per_side, n_per_side)))
    centers += SPREAD * random.standard_normal(centers.shape)
    positions = [single.positions @ rotation(random) + center for center in centers]
    side = n_per_side * spacing
    return Atoms(list(single.symbols) * len(centers), np.concatenate(positions), cell=[side] * 3, pbc=True)


def rotation(random: np.random.Generator) -> NDArray[np.float64]:
    """Uniform over rotations: the orthogonal factor of a Gaussian matrix, its signs made unique."""
    orthogonal, triangular = np.linalg.qr(random.standard_normal((3, 3)))
    orthogonal = orthogonal * np.sign(np.diag(triangular))
    return np.asarray(orthogonal * np.linalg.det(orthogonal))


def ethanol() -> Atoms:
    return molecule("CH3CH2OH")
