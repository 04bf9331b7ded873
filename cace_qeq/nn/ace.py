"""Learned Cartesian atomic cluster expansion: densities, mixing per degree, invariants, messages."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Literal

import torch
from torch import Tensor, nn

from cace_qeq.allocation import in_whole_lines
from cace_qeq.features import (
    Block,
    Couplings,
    Layout,
    Occupied,
    PairFunctions,
    blocks_of,
    degrees,
    density,
    gathered,
    harmonic_degrees,
    last_slots,
    mixed,
    n_harmonics,
    restoration,
)
from cace_qeq.features.angular import AngularFunctions, angular_harmonics, angular_monomials
from cace_qeq.features.radial import radial_functions
from cace_qeq.nn.mlp import mlp

SMALLEST_PART, MOST_PARTS = 512, 8  # atoms, and parts of a structure however large
SMALLEST_RELATIVE_SPREAD = 0.05  # of a feature, below which it is not blown up to unit variance
SMALLEST_SPREAD = 1e-3  # of features beside their own size, where structures are all alike
SMALLEST_SIZE = 0.05  # of a degree beside the largest; a smaller one is forbidden by the symmetry of the structures


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
    """The neighbours of atoms, before their channels are known; tables of functions are made when they are asked for.

    displacements  (atom, 3, slot)  Å  from receiver to neighbour, beyond the cutoff in padding
    senders        (atom, slot)     index of the neighbour
    occupied       slots beyond hold no neighbour that is closer than the cutoff
    """

    displacements: Tensor
    senders: Tensor
    occupied: Occupied
    settings: ExpansionSettings

    @cached_property
    def layout(self) -> Layout:
        """How tables are read."""
        n_products = self.settings.n_radial * n_harmonics(self.settings.l_max)
        return Layout(self.settings.n_radial, self.blocks(n_products))

    @cached_property
    def monomials(self) -> Tensor:
        """(atom, radial + monomial, slot)  R_n and independent monomials of the unit vectors to the neighbours"""
        return self.table(angular_monomials, equal_slopes=False)

    @cached_property
    def harmonics(self) -> Tensor:
        """(atom, radial + harmonic, slot)  R_n / n and Y_k: learning then prefers smooth functions. Measured on 60
        frames of acetylacetone, 840 steps: 71.3 against 73.3 meV/Å
        """
        return self.table(angular_harmonics, equal_slopes=True)

    def table(self, angular: Callable[..., AngularFunctions], *, equal_slopes: bool) -> Tensor:
        size, kind = self.settings, (self.displacements.dtype, self.displacements.device)
        radial = radial_functions(size.cutoff, size.n_radial, equal_slopes, *kind)
        rows = size.n_radial + n_harmonics(size.l_max)
        return PairFunctions(radial, angular(size.l_max, *kind), self.blocks(2 * rows))(self.displacements)

    def blocks(self, values_per_slot: int) -> tuple[Block, ...]:
        """Rows to treat together if so much is made of each slot."""
        return blocks_of(self.senders.shape, self.occupied, values_per_slot * self.displacements.element_size())

    def density(self, channels: Tensor) -> Tensor:
        """Of what the neighbours have, channels (atom, z) -> (atom, independent monomial, radial, z)."""
        return density(gathered(channels, self.senders), self.layout, self.monomials)

    def parts(self) -> list["Environments"]:
        """Of some atoms each, so that what is needed for a part can be forgotten before the next; one part on a GPU."""
        n_atoms = len(self.senders)
        rows = max(SMALLEST_PART, -(-n_atoms // MOST_PARTS))
        if self.occupied is None or rows >= n_atoms:
            return [self]
        occupied = self.occupied.split(rows)
        tables = zip(self.displacements.split(rows), self.senders.split(rows), occupied, strict=True)
        return [Environments(*part, self.settings) for part in tables]


def density_of_elements(density: Callable[[Tensor], Tensor], embedding: Tensor, species: Tensor) -> Tensor:
    """Density of what the neighbours' elements are embedded in, from those of the elements if these are not more.

    density    of channels (atom, z)
    embedding  (species, z)
    species    (atom,)
    returns    (atom, function, radial, z)
    """
    if len(embedding) > embedding.shape[1]:
        return density(embedding.index_select(0, species))
    elements = torch.eye(len(embedding), dtype=embedding.dtype, device=embedding.device)
    return density(elements.index_select(0, species)) @ embedding


def environments(displacements: Tensor, senders: Tensor, settings: ExpansionSettings) -> Environments:
    """Of all atoms, in the precision of the displacements, (atom, slot, 3)."""
    occupied = last_slots(displacements.detach().square().sum(2) < settings.cutoff**2)
    if occupied is not None and len(occupied):
        longest = in_whole_lines(int(occupied.max()))
        displacements, senders = displacements[:, :longest], senders[:, :longest].contiguous()
    return Environments(displacements.transpose(1, 2).contiguous(), senders, occupied, settings)


class MomentMixing(nn.Module):
    """A matrix over (n, z) for each degree l, applied to every density that moments of degree l consist of.

    On the sphere those of independent monomials of degree l, l − 2, ..: a step down for each.
    """

    def __init__(self, l_max: int, n_in: int, n_out: int):
        super().__init__()
        self.steps = tuple(n_harmonics(lower) for lower in range(l_max, -1, -2))
        self.raised = [degree + 2 * s for s, n in enumerate(self.steps) for degree in harmonic_degrees(l_max)[:n]]
        self.weights = degree_matrices(l_max, n_in, n_out)

    def forward(self, densities: Tensor) -> Tensor:
        """densities (atom, independent monomial, radial, z) -> (part, atom, channel), parts as in `restoring`"""
        matrices = list(self.weights)  # each item of a ParameterList is looked up by its name, which is slow
        return mixed(densities.flatten(2), torch.stack([matrices[degree] for degree in self.raised]), self.steps)

    def restoring(self, l_max: int) -> Tensor:
        """(monomial, part)  moments in all packed monomials from the parts"""
        columns = torch.cat([torch.arange(size) for size in self.steps])
        matrix = torch.from_numpy(restoration(l_max))[:, columns]
        return matrix * (torch.tensor(degrees(l_max)).unsqueeze(1) == torch.tensor(self.raised))


class ACELayer(nn.Module):
    """Moments of the neighbours' channels and their standardised invariants.

    A[a, m, c] = g_l[species of a, c] Σ_nz W_l[nz, c] Σ_b R_n M_m h[b, z];  the sums over neighbours carry nothing
    that depends on the receiver alone (theory, eq. 5).   Drautz, Phys. Rev. B 99, 014104 (2019); Cheng, npj Comput.
    Mater. 10, 157 (2024), eqs. 3-10

    sources  number of channels in each density that moments are mixed from
    """

    degrees: Tensor
    restoring: Tensor
    shift: Tensor
    scale: Tensor

    def __init__(self, settings: ExpansionSettings, sources: tuple[int, ...]):
        super().__init__()
        l_max, channels = settings.l_max, settings.channels
        self.couplings = Couplings(l_max, settings.body_order, settings.couplings)
        mixings = [MomentMixing(l_max, settings.n_radial * n, channels) for n in sources]
        self.mixings = nn.ModuleList(mixings)
        self.receiver = nn.Parameter(1 + 0.3 * torch.randn(settings.n_species, l_max + 1, channels))
        self.compressed = settings.compression == "asinh"
        self.register_buffer("degrees", torch.tensor(degrees(l_max)), persistent=False)
        self.register_buffer("restoring", mixings[0].restoring(l_max).to(self.receiver.dtype), persistent=False)
        self.n_features = self.couplings.n_invariants * channels
        self.register_buffer("shift", torch.zeros(self.n_features))
        self.register_buffer("scale", torch.ones(self.n_features))

    def moments(self, densities: list[Tensor], species: Tensor) -> Tensor:
        """densities (atom, independent monomial, radial, z) each, species (atom,) -> A (atom, monomial, channel)"""
        parts = reduce(torch.add, (mixing(part) for mixing, part in zip(self.mixings, densities, strict=True)))
        moments = (self.restoring @ parts.flatten(1)).unflatten(1, parts.shape[1:])
        receiver = self.receiver.transpose(0, 1).index_select(0, self.degrees).index_select(1, species)
        return (moments * receiver).transpose(0, 1)

    def forward(self, densities: list[Tensor], species: Tensor) -> Tensor:
        """-> (atom, feature)"""
        invariants = self.couplings(self.moments(densities, species))
        standardised = (invariants.flatten(1) - self.shift) / self.scale
        return torch.asinh(standardised) if self.compressed else standardised

    @torch.no_grad()
    def calibrate(self, densities: list[Tensor], species: Tensor) -> None:
        """Give every degree of the moments unit size and every invariant zero mean and unit variance here."""
        moments = self.moments(densities, species)
        sizes = typical_sizes(moments.transpose(0, 1), self.degrees)
        for mixing in self.mixings:
            assert isinstance(mixing, MomentMixing)
            for weight, size in zip(mixing.weights, sizes, strict=True):
                weight.div_(size)
        shift, scale = standardisation(self.couplings(self.moments(densities, species)).flatten(1))
        self.shift.copy_(shift)
        self.scale.copy_(scale)


def degree_matrices(l_max: int, n_in: int, n_out: int) -> nn.ParameterList:
    """A matrix for each degree, apart, so that SOAP finds axes for each. Measured on 150 frames of acetylacetone,
    two seeds: 14.2 and 15.3 against 15.1 and 16.6 meV/Å with common ones
    """
    start = torch.randn(l_max + 1, n_in, n_out) / n_in**0.5
    return nn.ParameterList(matrix.clone() for matrix in start)


def typical_sizes(components: Tensor, degrees: Tensor) -> Tensor:
    """Root mean square of each degree's components; that of the largest where symmetry forbids one, one if it does all.

    What a perfect crystal has none of is as large as anything else once its atoms move.

    components  (component, ...)
    degrees     (component,)
    """
    parts = [components[degrees == degree] for degree in range(int(degrees.max()) + 1)]
    sizes = torch.stack([part.square().mean().sqrt() for part in parts])
    largest = sizes.max()
    if largest < SMALLEST_SPREAD:
        return torch.ones_like(sizes)
    return torch.where(sizes < SMALLEST_SIZE * largest, largest, sizes)


def standardisation(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and spread of features (atom, feature), each (feature,); no spread is small beside that of the others.

    Atoms without neighbours say nothing of it: then it is one.
    """
    spread, size = features.std(dim=0, unbiased=False), features.square().mean().sqrt()
    smallest = SMALLEST_RELATIVE_SPREAD * spread.square().mean().sqrt()
    least = max(float(smallest), float(SMALLEST_SPREAD * size), 1e-6) if size > 0 else 1.0
    return features.mean(dim=0), spread.clamp(min=least)


class CartesianACE(nn.Module):
    """Invariant features of every atom from one or more rounds of the expansion.

    The first round sees the neighbours' elements; each later one also scalars that the neighbours compute from
    their own features (messages in the scalar form of CACE). The elements' density is made once for all rounds.
    """

    def __init__(self, settings: ExpansionSettings, layers: int, message_channels: int):
        super().__init__()
        self.settings = settings
        self.embedding = nn.Parameter(torch.randn(settings.n_species, settings.species_channels))
        self.messages = nn.ModuleList()
        self.layers = nn.ModuleList()
        self.n_features = settings.species_channels
        for index in range(layers):
            sources = (settings.species_channels,) if index == 0 else (settings.species_channels, message_channels)
            if index > 0:
                self.messages.append(mlp(self.n_features, [2 * message_channels], message_channels))
            layer = ACELayer(settings, sources)
            self.layers.append(layer)
            self.n_features += layer.n_features

    def forward(self, around: Environments, species: Tensor) -> Tensor:
        """species (atom,) -> (atom, feature)"""
        features = self.embedding.index_select(0, species)
        densities = [density_of_elements(around.density, self.embedding, species)]
        for layer, message in self.rounds():
            if message is not None:
                densities = [densities[0], around.density(message(features))]
            features = torch.cat([features, layer(densities, species)], dim=1)
        return features

    @torch.no_grad()
    def calibrate(self, around: Environments, species: Tensor) -> None:
        """Standardise the features of every round on these environments, first to last."""
        features = self.embedding.index_select(0, species)
        densities = [density_of_elements(around.density, self.embedding, species)]
        for layer, message in self.rounds():
            if message is not None:
                densities = [densities[0], around.density(message(features))]
            layer.calibrate(densities, species)
            features = torch.cat([features, layer(densities, species)], dim=1)

    def rounds(self) -> Iterator[tuple[ACELayer, nn.Module | None]]:
        """Each layer after the message that is sent before it; before the first there is nothing to send."""
        for layer, message in zip(self.layers, [None, *self.messages], strict=True):
            assert isinstance(layer, ACELayer)
            yield layer, message
