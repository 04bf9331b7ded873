"""Which mesh a particle-mesh sum needs: chosen once per cell, outside anything that is differentiated.

A low floor, beside `slab`: structures and electrostatics both plan sums here.
"""

import itertools
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cace_qeq.lattice import EwaldPlan

Floats = NDArray[np.float64]

ORDERS = (4, 5, 6, 7, 8)
REAL_SPACE_MARGIN = 1e-2  # of the accuracy: pairs that come and go at the cutoff make steps, a mesh does not
PER_PAIR, PER_SHARE, PER_POINT = 15.0, 3.0, 9.0  # ns in each product: pairs, shares of mesh points, mesh points
SMALLEST_CUTOFF, LARGEST_CUTOFF = 3.0, 10.0  # Å, between which the fastest is chosen
SPARSE, CROWDED = 3e-3, 0.1  # 1/Å³, atoms of a cell that is mostly vacuum (caesium has 9e-3), and in its clusters


def plan_mesh(
    cell: Floats, n_atoms: int, largest_width: float, accuracy: float, largest_cutoff: float | None = None
) -> EwaldPlan:
    """The fastest splines, split and mesh for an accuracy; no triplets.

    cell           (3, 3)  Å, rows are lattice vectors, any handedness
    largest_width  Å       widest Gaussian σ that the structure may hold; the real-space cutoff covers it
    accuracy               error of the potential of unit charges, in units of that of one at 1 Å
    largest_cutoff  Å      in real space; by default 10, and more in a cell that is mostly vacuum
    """
    volume = abs(float(np.linalg.det(cell)))
    vacuum = n_atoms / volume < SPARSE
    density = CROWDED if vacuum else n_atoms / volume
    decay = float(np.sqrt(-2 * np.log(REAL_SPACE_MARGIN * accuracy)))
    smallest = max(decay * float(np.sqrt(2) * largest_width), SMALLEST_CUTOFF)
    cutoffs = np.arange(smallest, max(largest_cutoff or LARGEST_CUTOFF, smallest + 0.1), 0.25)
    if vacuum and largest_cutoff is None:  # few pairs are there to be added, and a mesh of all the vacuum is large
        cutoffs = np.append(cutoffs, np.geomspace(LARGEST_CUTOFF, max(LARGEST_CUTOFF, volume ** (1 / 3) / 2)))
    plans = [_plan(cell, density, cutoff / decay, cutoff, order, accuracy) for cutoff in cutoffs for order in ORDERS]
    lengths = np.linalg.norm(cell, axis=1)

    def cost(plan: EwaldPlan) -> float:
        images = float(np.prod(np.maximum(1.0, 2 * plan.cutoff / lengths)))
        return _cost(plan, n_atoms, density, images * n_atoms**2 / 2 if vacuum else np.inf)

    return min(plans, key=cost)


def mesh_error(split: float, spacing: float, order: int, density: float) -> float:
    """Error of the potential of unit charges at random places, in units of that of one at 1 Å.   (solvers, eq. S3)

    split    Å, η
    spacing  Å, between mesh points
    order    of the splines
    density  1/Å³, of charges
    """
    ratios, errors = _errors(split, order, density)
    return float(np.exp(np.interp(np.log(spacing / split), np.log(ratios), np.log(errors))))


def _errors(split: float, order: int, density: float) -> tuple[Floats, Floats]:
    """For many ratios of spacing and η: root mean square of what all others and the charge itself contribute."""
    ratios, others, itself = _error_table(order)
    return ratios, np.sqrt(density * split * others + itself / split**2)


def _plan(cell: Floats, density: float, split: float, cutoff: float, order: int, accuracy: float) -> EwaldPlan:
    ratios, errors = _errors(split, order, density)
    spacing = split * np.exp(np.interp(np.log(accuracy), np.log(errors), np.log(ratios)))
    first, second, third = (quick_size(length / spacing) for length in np.linalg.norm(cell, axis=1))
    none = np.zeros((0, 3), dtype=np.int64)
    return EwaldPlan(float(split), float(cutoff), none, mesh=(first, second, third, order))


def _cost(plan: EwaldPlan, n_atoms: int, density: float, most_pairs: float) -> float:
    pairs = min(n_atoms * density * 2 * np.pi / 3 * plan.cutoff**3, most_pairs)
    return PER_PAIR * pairs + PER_SHARE * n_atoms * plan.mesh[3] ** 3 + PER_POINT * float(np.prod(plan.mesh[:3]))


@lru_cache
def _error_table(order: int) -> tuple[Floats, Floats, Floats]:
    """Ratios of mesh spacing to η; squared errors by other charges and by the charge itself, η and density at one.

    ∫ d³k/(2π)³ 2 G² (1 - Π_i u_i) and 6 [∫ d³k/(2π)³ G v]², with G = 4π exp(-k²/2)/k², U_l = sincᵖ(kh/2 + πl),
    u = U_0² / Σ_l U_l² and v = U_0 (U_1 + U_-1) / Σ_l U_l².
    """
    ratios, step = np.geomspace(0.05, 2.0, 40), 0.08
    k, cosine = np.meshgrid(np.arange(step / 2, 8.0, step), (np.arange(10) + 0.5) / 10, indexing="ij")
    weight = 4 * np.pi * np.exp(-(k**2) / 2) / k**2
    volume = 4 * np.pi * k**2 * step / (2 * np.pi) ** 3 / cosine.shape[1]
    waves = [_aliases(k * cosine * ratio, order) for ratio in ratios]
    others = [2 * (volume * weight**2 * 3 * lost).sum() for lost, _ in waves]
    itself = [6 * (volume * weight * mixed).sum() ** 2 for _, mixed in waves]
    return ratios, np.array(others), np.array(itself)


def _aliases(phase: Floats, order: int) -> tuple[Floats, Floats]:
    """1 - u and v of a phase k h, from the aliases next to it."""
    own, *others = (np.sinc(phase / (2 * np.pi) + alias) ** order for alias in (0, -1, 1, -2, 2))
    lost = np.sum(np.square(others), axis=0)
    return lost / (lost + own**2), own * (others[0] + others[1]) / (lost + own**2)


def quick_size(at_least: float) -> int:
    """The next even number whose only prime factors are 2, 3, 5 and 7: quick to transform."""
    return next(size for size in itertools.count(2 * int(np.ceil(at_least / 2)), 2) if _is_smooth(size))


def _is_smooth(size: int) -> bool:
    for prime in (2, 3, 5, 7):
        while size % prime == 0:
            size //= prime
    return size == 1
