"""What charge equilibration needs of every atom: electronegativity, hardness, width.   (theory, eqs. 7, 8)"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from cace_qeq.electrostatics import ChargeParameters
from cace_qeq.electrostatics.kernels import self_interaction
from cace_qeq.nn.elements import COVALENT_RADII, chemical_hardness, mulliken_electronegativity
from cace_qeq.nn.heads import Readout
from cace_qeq.nn.precision import KeepsDoubleBuffers
from cace_qeq.units import COULOMB

SMALLEST_INITIAL_HARDNESS = 1.0  # eV/e²
LARGEST_WIDTH_FACTOR = 2.0  # by which a learned width may leave its initial value, up or down
LARGEST_HARDNESS_CHANGE = 0.5  # relative, by the environment

HARDNESS_UNIT = 20.0  # eV/e² per unit of the parameter: ionic solids want 30, far from where free atoms start


class Electronegativity(nn.Module):
    """χ = K_aa p of each atom: −p is the charge that it would take alone at potential zero.

    p is an offset per element, at first that of the free atom's Mulliken electronegativity, plus the
    environment's part. Charges follow from p and hardness nearly independently, where χ itself would have to
    grow with the hardness.
    """

    def __init__(self, species: Sequence[int], stiffness: Sequence[float], n_features: int, hidden: Sequence[int]):
        super().__init__()
        initial = [mulliken_electronegativity(z) / k for z, k in zip(species, stiffness, strict=True)]
        self.offset = nn.Parameter(torch.tensor(initial))
        self.environment = Readout(n_features, hidden)

    def forward(self, features: Tensor, species: Tensor, stiffness: Tensor) -> Tensor:
        """stiffness  (atom,)  eV/e², K_aa -> (atom,)  eV/e, float64"""
        return stiffness * (self.offset[species] + self.environment(features)).double()


class ElementHardness(nn.Module):
    """Hardness J > 0 of each element, so that A + J stays positive definite.

    Starts where J plus the self-interaction of the Gaussian charge is the free atom's IP − EA, or at 1 eV/e².
    """

    def __init__(self, species: Sequence[int], widths: Sequence[float]):
        super().__init__()
        initial = [initial_hardness(z, width) for z, width in zip(species, widths, strict=True)]
        raw = [math.log(math.expm1(hardness)) / HARDNESS_UNIT for hardness in initial]
        self.raw = nn.Parameter(torch.tensor(raw))

    def forward(self, features: Tensor, species: Tensor) -> Tensor:
        """(atom,)  eV/e², float64"""
        return softplus(HARDNESS_UNIT * self.raw.double())[species]


class FixedHardness(ElementHardness):
    """The same, which stays where it starts."""

    def __init__(self, species: Sequence[int], widths: Sequence[float]):
        super().__init__(species, widths)
        start = self.raw.detach()
        del self.raw
        self.register_buffer("raw", start)


class EnvironmentHardness(ElementHardness):
    """The same, times 1 + tanh(environment)/2: bounded, so still positive."""

    def __init__(self, species: Sequence[int], widths: Sequence[float], n_features: int, hidden: Sequence[int]):
        super().__init__(species, widths)
        self.environment = Readout(n_features, hidden)

    def forward(self, features: Tensor, species: Tensor) -> Tensor:
        change = LARGEST_HARDNESS_CHANGE * torch.tanh(self.environment(features).double())
        return super().forward(features, species) * (1 + change)


class FixedWidths(KeepsDoubleBuffers):
    """Gaussian width σ of each element."""

    double_buffers = ("widths",)
    widths: Tensor

    def __init__(self, widths: Sequence[float]):
        super().__init__()
        self.register_buffer("widths", torch.tensor(widths, dtype=torch.float64))

    def forward(self, species: Tensor) -> Tensor:
        """(atom,)  Å, float64"""
        return self.widths[species]


class LearnedWidths(FixedWidths):
    """The same, learned within a factor of two, so that neighbour lists know the widest in advance."""

    def __init__(self, widths: Sequence[float]):
        super().__init__(widths)
        self.raw = nn.Parameter(torch.zeros(len(widths)))

    def forward(self, species: Tensor) -> Tensor:
        factor = LARGEST_WIDTH_FACTOR ** torch.tanh(self.raw.double())
        return (self.widths * factor)[species]


class ChargeHeads(nn.Module):
    """Electronegativity, hardness and width together."""

    def __init__(self, electronegativity: Electronegativity, hardness: ElementHardness, width: FixedWidths):
        super().__init__()
        self.electronegativity = electronegativity
        self.hardness = hardness
        self.width = width

    def forward(self, features: Tensor, species: Tensor) -> ChargeParameters:
        """features (atom, feature), species (atom,)"""
        hardness, width = self.hardness(features, species), self.width(species)
        stiffness = hardness + self_interaction(width)
        return ChargeParameters(self.electronegativity(features, species, stiffness), hardness, width)


def covalent_widths(species: Sequence[int]) -> list[float]:
    """Covalent radii in Å, the default widths."""
    return [COVALENT_RADII[z] for z in species]


def initial_hardness(number: int, width: float) -> float:
    """eV/e², what the Gaussian's self-interaction leaves of the free atom's IP − EA, at least 1."""
    return max(chemical_hardness(number) - COULOMB / (math.sqrt(math.pi) * width), SMALLEST_INITIAL_HARDNESS)


def initial_stiffness(number: int, width: float) -> float:
    """eV/e², K_aa = J + self-interaction."""
    return initial_hardness(number, width) + COULOMB / (math.sqrt(math.pi) * width)
