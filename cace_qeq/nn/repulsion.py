"""Repulsion of nuclei at short distance, for pairs closer than the training data.   (theory, eq. 6a)"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cace_qeq.features import polynomial_envelope
from cace_qeq.nn.precision import KeepsDoubleBuffers
from cace_qeq.units import COULOMB

SCREENING_LENGTH = 0.8854 * 0.529177  # Å, in units of the Bohr radius 0.8854
SCREENING_POWER = 0.23
AMPLITUDES = (0.18175, 0.50986, 0.28022, 0.02817)
EXPONENTS = (3.19980, 0.94229, 0.40290, 0.20162)


class ScreenedRepulsion(KeepsDoubleBuffers):
    """Screened Coulomb repulsion of the nuclei, its strength and range learned for each pair of elements.

    E_a = Σ_b s_ab k_e Z_a Z_b φ(r / (t_ab d_ab)) f(r) / 2r  with  d_ab = 0.8854 a_0 / (Z_a^0.23 + Z_b^0.23),
    s = t = 1 at first.   Ziegler, Biersack & Littmark, The Stopping and Range of Ions in Solids (1985); Unke et al.,
    Nat. Commun. 12, 7273 (2021), learn the constants of φ

    A polynomial of the environment does as it likes beyond its data; a positive, monotonic term does not.
    """

    double_buffers = ("charge_products", "lengths")
    charge_products: Tensor
    lengths: Tensor

    def __init__(self, species: Sequence[int], cutoff: float):
        super().__init__()
        self.cutoff = cutoff
        numbers = torch.tensor(species, dtype=torch.float64)
        reach = numbers**SCREENING_POWER
        self.register_buffer("charge_products", numbers.unsqueeze(1) * numbers, persistent=False)
        self.register_buffer("lengths", SCREENING_LENGTH / (reach.unsqueeze(1) + reach), persistent=False)
        self.strength = nn.Parameter(torch.zeros(len(species), len(species)))
        self.range = nn.Parameter(torch.zeros(len(species), len(species)))

    def forward(self, displacements: Tensor, senders: Tensor, species: Tensor) -> Tensor:
        """displacements (atom, slot, 3) Å, senders (atom, slot), species (atom,) -> (atom,) eV"""
        distance = torch.linalg.vector_norm(displacements, dim=-1)
        first = species.unsqueeze(1).expand_as(senders)
        second = species.index_select(0, senders.flatten()).view_as(senders)
        strength = self.charge_products * symmetric(self.strength).exp()
        length = self.lengths * symmetric(self.range).exp()
        reduced = distance / length[first, second]
        screening = sum(a * torch.exp(-b * reduced) for a, b in zip(AMPLITUDES, EXPONENTS, strict=True))
        pair = COULOMB * strength[first, second] * screening / distance
        return (pair * polynomial_envelope(distance, self.cutoff)).sum(-1) / 2


def symmetric(matrix: Tensor) -> Tensor:
    return (matrix + matrix.T) / 2
