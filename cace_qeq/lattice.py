"""Integers of an Ewald sum: chosen once per cell, outside anything that is differentiated.

Floor zero: both the structures room (which prepares batches) and the electrostatics room (which
also serves single structures) plan their sums here, and neither has to know the other.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Method = Literal["auto", "dense", "structure_factors", "mesh"]

# atoms of a structure whose matrix "auto" writes down (docs/solvers.md has the times of charges alone). Preset XS with
# charges took, by a matrix with errors of 1e-7 and on a mesh, 21 and 25 ms for 192 atoms (as generated code 15 and 23)
# and 28 and 30 for 240; for slabs 28 and 30, 39 and 35; along bonds 38 and 39, 50 and 46
LARGEST_DENSE = 200

NO_MESH = (0, 0, 0, 0)


@dataclass(frozen=True)
class EwaldPlan:
    """How one periodic structure splits its Coulomb sum.

    split     η, Å                width of the screening Gaussians
    cutoff    Å                   real-space cutoff; covers η and the widest pair of charges
    triplets  (k, 3)  int64       reciprocal vectors n₁b₁ + n₂b₂ + n₃b₃, one of each pair ±k, without 0
    height    Å                   of the cell that a slab is summed in, along its open direction; 0 unless a slab
    mesh                          points along each lattice vector and order of the splines; zeros without a mesh
    """

    split: float
    cutoff: float
    triplets: NDArray[np.int64]
    height: float = 0.0
    mesh: tuple[int, int, int, int] = NO_MESH


def plan_ewald(cell: NDArray[np.float64], n_atoms: int, largest_width: float, accuracy: float) -> EwaldPlan:
    """Cheapest Ewald split for a cell, with both sums converged to `accuracy`.

    cell           (3, 3)  Å, rows are lattice vectors, any handedness
    largest_width  Å       widest Gaussian σ that the structure may hold
    accuracy               relative size of the first neglected term, e.g. 1e-10
    """
    split = optimal_split(abs(float(np.linalg.det(cell))), n_atoms)
    return plan_ewald_with_split(cell, split, largest_width, accuracy)


def plan_ewald_with_split(cell: NDArray[np.float64], split: float, largest_width: float, accuracy: float) -> EwaldPlan:
    """The same for a given η; results do not depend on it (tests vary it)."""
    decay = float(np.sqrt(-2 * np.log(accuracy)))
    cutoff = decay * max(split, np.sqrt(2) * largest_width)
    return EwaldPlan(split, cutoff, reciprocal_triplets(cell, decay / split))


def optimal_split(volume: float, n_atoms: int) -> float:
    """η that balances real space (0.2 µs per pair) and reciprocal space (0.8 ns per pair of atoms and k).

    The real sum costs N (N/V) 4π/3 (aη)³ pairs, the other V (a/η)³ / (12 π²) vectors for N² pairs of atoms;
    the accuracy's a drops out. Measured on one core of a 2-core x86 machine, float64.
    """
    per_pair, per_mode, per_phase = 200.0, 0.8, 40.0
    real = n_atoms**2 / volume * 4 * np.pi / 3 * per_pair
    reciprocal = volume / (12 * np.pi**2) * (per_mode * n_atoms**2 + per_phase * n_atoms)
    return float((reciprocal / real) ** (1 / 6))


def reciprocal_triplets(cell: NDArray[np.float64], largest_k: float) -> NDArray[np.int64]:
    """All integer triplets with 0 < |k| ≤ largest_k (1/Å), one of each pair ±k."""
    bounds = np.floor(largest_k * np.linalg.norm(cell, axis=1) / (2 * np.pi)).astype(int)
    axes = [np.arange(-bound, bound + 1) for bound in bounds]
    triplets = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    triplets = triplets[len(triplets) // 2 + 1 :]  # the grid is symmetric about its middle, the zero vector
    vectors = 2 * np.pi * triplets @ np.linalg.inv(cell).T
    return triplets[np.linalg.norm(vectors, axis=1) <= largest_k].astype(np.int64)
