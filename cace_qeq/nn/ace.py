"""Learned Cartesian atomic cluster expansion: densities, mixing per degree, invariants, messages."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from cace_qeq.features import Couplings, PairFunctions, blocks_of, degrees, density, gathered, layout_of, n_monomials
from cace_qeq.features.densities import Layout
from cace_qeq.nn.mlp import mlp

SMALLEST_RELATIVE_SPREAD = 0.05  # of a feature, below which it is not blown up to unit variance


@dataclass(frozen=True)
class ExpansionSettings:
    """Size of the expansion; the fields of the same names in ModelConfig explain them."""

    n_species: int
    cutoff: float
    n_radial: int
    species_channels: int
    channels: int
    l_max: int
    body_order: int
    couplings: Literal["complete", "paths"]
    compression: Literal["asinh", "none"]


@dataclass(frozen=True)
class Environments:
    """The neighbours of every atom, before their channels are known.

    functions  (atom, radial + monomial, slot)  Bessel functions times the envelope, which are zero in padding, and
               monomials of the unit vectors to the neighbours
    senders    (atom, slot)                     index of the neighbour
    layout     of the table of functions
    """

    functions: Tensor
    senders: Tensor
    layout: Layout


def environments(displacements: Tensor, senders: Tensor, settings: ExpansionSettings) -> Environments:
    """Radial and angular functions of all neighbours, in the precision of the displacements.

    displacements  (atom, slot, 3)  Å  from receiver to neighbour, beyond the cutoff in padding
    """
    within = displacements.detach().square().sum(2) < settings.cutoff**2
    angular = n_monomials(settings.l_max)
    layout = layout_of(within, settings.n_radial, angular, displacements.element_size())
    blocks = blocks_of(within, 2 * (settings.n_radial + angular) * displacements.element_size())
    functions = PairFunctions(settings.cutoff, settings.n_radial, settings.l_max, blocks)
    return Environments(functions(displacements.transpose(1, 2).contiguous()), senders, layout)


class ACELayer(nn.Module):
    """Density moments of the neighbours' channels and their standardised invariants.

    A[a, m, c] = g_l[species of a, c] Σ_nz W_l[nz, c] Σ_b R_n M_m h[b, z];  the sums over neighbours carry nothing
    that depends on the receiver alone.   Cheng, npj Comput. Mater. 10, 157 (2024), eqs. 3-10
    """

    degrees: Tensor
    shift: Tensor
    scale: Tensor

    def __init__(self, settings: ExpansionSettings, sender_channels: int):
        super().__init__()
        n_in, n_degrees = settings.n_radial * sender_channels, settings.l_max + 1
        self.couplings = Couplings(settings.l_max, settings.body_order, settings.couplings)
        self.mixing = nn.Parameter(torch.randn(n_degrees, n_in, settings.channels) / n_in**0.5)
        self.receiver = nn.Parameter(1 + 0.3 * torch.randn(settings.n_species, n_degrees, settings.channels))
        self.compressed = settings.compression == "asinh"
        self.register_buffer("degrees", torch.tensor(degrees(settings.l_max)), persistent=False)
        self.n_features = self.couplings.n_invariants * settings.channels
        self.register_buffer("shift", torch.zeros(self.n_features))
        self.register_buffer("scale", torch.ones(self.n_features))

    def moments(self, around: Environments, channels: Tensor, species: Tensor) -> Tensor:
        """channels (atom, z), species (atom,) -> A (atom, monomial, channel)"""
        arriving = gathered(channels, around.senders)
        summed = density(arriving, around.layout, around.functions)
        mixing = self.mixing.unflatten(1, (summed.shape[3], -1)).transpose(1, 2).flatten(1, 2)
        receiver = self.receiver.transpose(0, 1).index_select(0, self.degrees).index_select(1, species)
        mixed = (summed.flatten(2) @ mixing.index_select(0, self.degrees)) * receiver
        return mixed.transpose(0, 1)

    def forward(self, around: Environments, channels: Tensor, species: Tensor) -> Tensor:
        """-> (atom, feature)"""
        invariants = self.couplings(self.moments(around, channels, species))
        standardised = (invariants.flatten(1) - self.shift) / self.scale
        return torch.asinh(standardised) if self.compressed else standardised

    @torch.no_grad()
    def calibrate(self, around: Environments, channels: Tensor, species: Tensor) -> None:
        """Give every degree of the moments unit size and every invariant zero mean and unit variance here."""
        moments = self.moments(around, channels, species)
        for degree in range(len(self.mixing)):
            part = moments[:, self.degrees == degree]
            self.mixing[degree] /= part.square().mean().sqrt().clamp(min=1e-6)
        invariants = self.couplings(self.moments(around, channels, species)).flatten(1)
        spread = invariants.std(dim=0, unbiased=False)
        smallest = SMALLEST_RELATIVE_SPREAD * spread.square().mean().sqrt()
        self.shift.copy_(invariants.mean(dim=0))
        self.scale.copy_(spread.clamp(min=max(float(smallest), 1e-6)))


class CartesianACE(nn.Module):
    """Invariant features of every atom from one or more rounds of the expansion.

    The first round sees the neighbours' elements; each later one also scalars that the neighbours compute from
    their own features (messages in the scalar form of CACE).
    """

    def __init__(self, settings: ExpansionSettings, layers: int, message_channels: int):
        super().__init__()
        self.settings = settings
        self.embedding = nn.Parameter(torch.randn(settings.n_species, settings.species_channels))
        self.messages = nn.ModuleList()
        self.layers = nn.ModuleList()
        self.n_features = settings.species_channels
        for index in range(layers):
            sent = message_channels if index > 0 else 0
            self.messages.append(mlp(self.n_features, [2 * sent], sent) if sent else NoMessage())
            layer = ACELayer(settings, settings.species_channels + sent)
            self.layers.append(layer)
            self.n_features += layer.n_features

    def forward(self, around: Environments, species: Tensor) -> Tensor:
        """species (atom,) -> (atom, feature)"""
        elements = features = self.embedding[species]
        for message, layer in zip(self.messages, self.layers, strict=True):
            channels = torch.cat([elements, message(features)], dim=1)
            features = torch.cat([features, layer(around, channels, species)], dim=1)
        return features

    @torch.no_grad()
    def calibrate(self, around: Environments, species: Tensor) -> None:
        """Standardise the features of every round on these environments, first to last."""
        elements = features = self.embedding[species]
        for message, layer in zip(self.messages, self.layers, strict=True):
            assert isinstance(layer, ACELayer)
            channels = torch.cat([elements, message(features)], dim=1)
            layer.calibrate(around, channels, species)
            features = torch.cat([features, layer(around, channels, species)], dim=1)


class NoMessage(nn.Module):
    """Before the first round there is nothing to send."""

    def forward(self, features: Tensor) -> Tensor:
        """(atom, feature) -> (atom, 0)"""
        return features[:, :0]
