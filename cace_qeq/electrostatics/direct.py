"""All pairs of an open structure, some rows at a time."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from cace_qeq.electrostatics.kernels import gaussian_coulomb
from cace_qeq.units import COULOMB

BLOCK = 2**20  # elements at a time, 8 MB
KEPT = 2**26  # elements of a matrix that is kept between products, 512 MB


@dataclass(frozen=True)
class AllPairs:
    """Σ_{a≠b} k_e erf(r / (√2 γ)) / r x_a y_b.

    positions  (atom, 3)  Å
    variance   (atom,)    Å², σ²
    """

    positions: Tensor
    variance: Tensor

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        return self.positions, self.variance

    @torch.no_grad()
    def product(self, charges: Tensor) -> Tensor:
        if len(charges) ** 2 <= KEPT:
            return self._matrix @ charges
        return torch.cat([self._rows(rows)[0] @ charges for rows in self._blocks()])

    @torch.no_grad()
    def add_to(self, matrix: Tensor) -> None:
        for rows in self._blocks():
            matrix[rows].add_(self._rows(rows)[0])

    def gradients(self, left: Tensor, right: Tensor) -> tuple[Tensor, ...]:
        parts = [self._slopes(rows, left, right) for rows in self._blocks()]
        by_positions, by_variance = (torch.cat(part) for part in zip(*parts, strict=True))
        return by_positions, by_variance

    def energy(self, charges: Tensor) -> Tensor:
        blocks = list(self._blocks())
        if len(blocks) == 1:
            return self._energy(blocks[0], charges)
        # several are worked out again for derivatives, so that one of them at a time is in memory
        return torch.stack([checkpoint(self._energy, rows, charges, use_reentrant=False) for rows in blocks]).sum()

    def _energy(self, rows: slice, charges: Tensor) -> Tensor:
        return torch.dot(charges[rows], self._rows(rows)[0] @ charges) / 2

    @cached_property
    def _matrix(self) -> Tensor:
        return torch.cat([self._rows(rows)[0] for rows in self._blocks()])

    def _blocks(self) -> Iterator[slice]:
        step = max(1, BLOCK // len(self.positions))
        return (slice(first, first + step) for first in range(0, len(self.positions), step))

    def _rows(self, rows: slice) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Interactions, displacements, squared distances and widths of some atoms with all; none with themselves."""
        displacement = self.positions[rows].unsqueeze(1) - self.positions
        own = displacement.new_zeros(displacement.shape[:2])
        own.diagonal(rows.start).fill_(1.0)
        squared = displacement.square().sum(-1) + own  # never a division by zero
        width = self.variance[rows].unsqueeze(1) + self.variance
        return gaussian_coulomb(squared, width) * (1 - own), displacement, squared, width

    def _slopes(self, rows: slice, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        """f = erf(r / (√2 γ)) / r has df/d(r²) = (G - f) / 2r² and df/d(γ²) = -G / 2γ².   (kernels)"""
        value, displacement, squared, width = self._rows(rows)
        gaussian = COULOMB * (2 / math.pi / width).sqrt() * (-squared / (2 * width)).exp()
        both = left[rows].unsqueeze(1) * right
        both = 2 * both if left is right else both + right[rows].unsqueeze(1) * left
        both = both * (displacement != 0).any(-1)  # an atom is no pair with itself
        by_distance = both * (gaussian - value) / squared
        by_width = both * gaussian / (2 * width)
        return (by_distance.unsqueeze(-1) * displacement).sum(1), -by_width.sum(1)
