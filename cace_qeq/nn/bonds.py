"""How easily charge flows between two atoms, and where that of an ion begins."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cace_qeq.electrostatics import Bonds, Wiring
from cace_qeq.features import polynomial_envelope
from cace_qeq.nn.elements import COVALENT_RADII, ELECTRON_AFFINITIES, IONIZATION_ENERGIES
from cace_qeq.nn.heads import Readout
from cace_qeq.nn.precision import KeepsDoubleBuffers

INITIAL_SOFTNESS = 0.5  # e²/eV, at no distance; atoms of 10 eV/e² exchange most of what they would in a metal
INITIAL_REACH = 1.2  # in units of the covalent radii's sum
SHARPNESS = 2.0  # 1/eV, of preferences: an atom that is easier to ionize by 1 eV has 7 times as much of the charge


class BondSoftness(KeepsDoubleBuffers):
    """s_ab = S exp(-(r / d)²) f(r) of neighbours: half of S at a bond's length, a few percent at twice that, zero at
    the cutoff. S and d belong to the pair of elements.
    """

    double_buffers = ("lengths",)
    lengths: Tensor

    def __init__(self, species: Sequence[int], cutoff: float):
        super().__init__()
        self.cutoff = cutoff
        radii = torch.tensor([COVALENT_RADII[number] for number in species], dtype=torch.float64)
        self.register_buffer("lengths", INITIAL_REACH * (radii.unsqueeze(1) + radii), persistent=False)
        self.strength = nn.Parameter(torch.zeros(len(species), len(species)))
        self.reach = nn.Parameter(torch.zeros(len(species), len(species)))

    def forward(self, displacements: Tensor, senders: Tensor, species: Tensor) -> Bonds:
        """displacements (atom, slot, 3) Å, senders (atom, slot), species (atom,); each bond in both directions"""
        distance = torch.linalg.vector_norm(displacements, dim=-1)
        receivers = torch.arange(len(species), device=species.device).unsqueeze(1).expand_as(senders)
        pair = (species[receivers], species[senders])
        strength = INITIAL_SOFTNESS * symmetric(self.strength).exp()[pair]
        length = self.lengths[pair] * symmetric(self.reach).exp()[pair]
        softness = strength * (-((distance / length) ** 2)).exp() * polynomial_envelope(distance, self.cutoff)
        vectors = displacements.double().flatten(0, 1)
        return Bonds(receivers.flatten(), senders.flatten(), softness.double().flatten() / 2, vectors)


class ExcessCharge(nn.Module):
    """Which atoms of an ion lack the electron, or have one more, before charge flows along bonds.

    As logarithms of their shares. Elements start with -IP and EA, so that atoms at a distance end as free ones do; the
    environment's part starts at zero.
    """

    def __init__(self, species: Sequence[int], n_features: int, hidden: Sequence[int]):
        super().__init__()
        initial = [[-IONIZATION_ENERGIES[number], ELECTRON_AFFINITIES[number]] for number in species]
        self.offset = nn.Parameter(SHARPNESS * torch.tensor(initial))
        self.positive = Readout(n_features, hidden)
        self.negative = Readout(n_features, hidden)

    def forward(self, features: Tensor, species: Tensor) -> Tensor:
        """features (atom, feature), species (atom,) -> (atom, 2)  float64, for positive and negative charge"""
        environment = torch.stack([self.positive(features), self.negative(features)], dim=1)
        return (self.offset[species] + environment).double()


class BondWiring(nn.Module):
    """Both together."""

    def __init__(self, softness: BondSoftness, excess: ExcessCharge):
        super().__init__()
        self.softness = softness
        self.excess = excess

    def forward(self, displacements: Tensor, senders: Tensor, features: Tensor, species: Tensor) -> Wiring:
        """As `BondSoftness` and `ExcessCharge` take them."""
        return Wiring(self.softness(displacements, senders, species), self.excess(features, species))


def symmetric(matrix: Tensor) -> Tensor:
    return (matrix + matrix.T).double() / 2
