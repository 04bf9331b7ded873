"""What charge equilibration needs of every atom: electronegativity, hardness, width.   (theory, section 2)"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from cace_qeq.electrostatics import ChargeParameters
from cace_qeq.nn.elements import COVALENT_RADII, chemical_hardness, mulliken_electronegativity
from cace_qeq.nn.heads import Readout
from cace_qeq.nn.precision import KeepsDoubleBuffers
from cace_qeq.units import COULOMB

SMALLEST_INITIAL_HARDNESS = 1.0  # eV/e²
LARGEST_WIDTH_FACTOR = 2.0  # by which a learned width may leave its initial value, up or down
LARGEST_HARDNESS_CHANGE = 0.5  # relative, by the environment


class Electronegativity(nn.Module):
    """χ of each atom: an offset per element, the free atom's Mulliken value at first, plus the environment's part."""

    def __init__(self, species: Sequence[int], n_features: int, hidden: Sequence[int]):
        super().__init__()
        self.offset = nn.Parameter(torch.tensor([mulliken_electronegativity(z) for z in species]))
        self.environment = Readout(n_features, hidden)

    def forward(self, features: Tensor, species: Tensor) -> Tensor:
        """(atom,)  eV/e, float64"""
        return (self.offset[species] + self.environment(features)).double()


class ElementHardness(nn.Module):
    """Hardness J > 0 of each element, so that A + J stays positive definite.

    Starts where J plus the self-interaction of the Gaussian charge is the free atom's IP − EA, or at 1 eV/e².
    """

    def __init__(self, species: Sequence[int], widths: Sequence[float]):
        super().__init__()
        initial = [
            max(chemical_hardness(z) - COULOMB / (math.sqrt(math.pi) * width), SMALLEST_INITIAL_HARDNESS)
            for z, width in zip(species, widths, strict=True)
        ]
        self.raw = nn.Parameter(torch.tensor([math.log(math.expm1(hardness)) for hardness in initial]))

    def forward(self, features: Tensor, species: Tensor) -> Tensor:
        """(atom,)  eV/e², float64"""
        return softplus(self.raw.double())[species]


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
        return ChargeParameters(
            self.electronegativity(features, species), self.hardness(features, species), self.width(species)
        )


def covalent_widths(species: Sequence[int]) -> list[float]:
    """Covalent radii in Å, the default widths."""
    return [COVALENT_RADII[z] for z in species]
