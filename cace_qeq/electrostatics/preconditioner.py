"""An approximate inverse of K that knows how long waves of charge interact.

Conjugate gradients with the diagonal alone need more iterations the larger the cell is, since a wave of charge of
length 2π/k costs 4π k_e ρ/k² beside the hardness. On a coarse mesh that is a product in reciprocal space.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from cace_qeq.electrostatics.mesh import MeshProduct, Shape, outer, shares, squared_waves
from cace_qeq.units import COULOMB

ORDER = 3
SPACING = 2.0  # Å; iterations to 1e-6 eV/e of 192, 1 536 and 12 288 atoms of water: 10, 12, 12
FEW_POINTS, POINTS_PER_ATOM = 50_000, 30  # at most; a liquid has one per atom, a slab with vacuum five
LOCAL = 6.0  # by which neighbours soften a wave of charge; 4 to 12 do equally well


@dataclass(frozen=True)
class LongWaves:
    """M⁻¹ = D⁻¹ - D⁻¹ W c^(-1/2) F c^(-1/2) Wᵀ D⁻¹ with 0 ≤ F < 1.   (solvers, eq. S5)

    c = Wᵀ D⁻¹ 1 makes D^(-1/2) W c⁻¹ Wᵀ D^(-1/2) a matrix of norm one (it keeps the positive vector D^(-1/2) 1), so M⁻¹
    is positive definite for any structure.

    softness  (atom,)  1/D, e²/eV
    smooth             W c^(-1/2) F c^(-1/2) Wᵀ
    """

    softness: Tensor
    smooth: MeshProduct

    def __call__(self, residual: Tensor) -> Tensor:
        """(atom,) eV/e -> (atom,) e"""
        quick = self.softness * residual
        return quick - self.softness * self.smooth(quick)


@torch.no_grad()
def long_waves(positions: Tensor, cell: Tensor, stiffness: Tensor) -> LongWaves:
    """Of one periodic structure, or an open one in a box that holds it.

    positions  (atom, 3)  Å
    cell       (3, 3)     Å
    stiffness  (atom,)    eV/e², D, the diagonal of K
    """
    inverse, softness = torch.linalg.inv(cell), 1 / stiffness
    shape = coarse_shape(cell, len(positions))
    weights, points = shares(positions, inverse, shape, ORDER)
    blocks = outer(*weights.unbind(1))
    density = blocks.new_zeros(math.prod(shape))
    density.scatter_add_(0, points.view(-1), (blocks * softness.unsqueeze(1)).view(-1))
    scaled = blocks * torch.where(density > 0, density.rsqrt(), 0.0)[points]
    per_volume = density.square().sum() / density.sum() * len(density) / torch.linalg.det(cell).abs()
    squared = squared_waves(inverse, shape)
    squared[0, 0, 0] = torch.inf
    strength = LOCAL * per_volume * 4 * math.pi * COULOMB / squared
    return LongWaves(softness, MeshProduct(scaled, strength / (1 + strength) / len(density), points, shape))


def coarse_shape(cell: Tensor, n_atoms: int) -> Shape:
    """Coarser still where a few atoms are far apart: points in empty space cost as much as others."""
    lengths, spacing, most = cell.norm(dim=1).tolist(), SPACING, max(FEW_POINTS, POINTS_PER_ATOM * n_atoms)
    while True:
        first, second, third = (max(2 * ORDER, 2 * math.ceil(x / spacing / 2)) for x in lengths)
        if first * second * third <= most:
            return first, second, third
        spacing *= 1.25


def surrounding_cell(positions: Tensor) -> Tensor:
    """A box around an open structure, with a few Å of nothing on all sides.  (3, 3)  Å"""
    extent = positions.amax(0) - positions.amin(0)
    return torch.diag(extent + ORDER * SPACING)
