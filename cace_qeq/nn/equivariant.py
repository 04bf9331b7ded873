"""Equivariant message passing: densities of covariants, products on the sphere, covariants again.

Arrays on atoms hold the component first, (component, atom, channel): mixing per degree is then one batched matrix
product and evaluation on the sphere one large one.   Equations are those of docs/equivariant.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cace_qeq.features import harmonic_degrees, harmonics, n_harmonics, sphere_products
from cace_qeq.features.harmonics import odd_factorial
from cace_qeq.nn.ace import SMALLEST_RELATIVE_SPREAD, Environments, ExpansionSettings
from cace_qeq.nn.precision import KeepsDoubleBuffers

PROJECTED_SHARE = 0.5  # of the square of a density at first; the rest is carried


@dataclass(frozen=True)
class MessageSettings:
    """What atoms send; the fields of the same names in ModelConfig explain them."""

    rank: int
    channels: int
    quadrature_degree: int | None = None


@dataclass(frozen=True)
class Surroundings:
    """Environments with harmonic directions.

    radial      (atom, slot, radial)
    directions  (atom, slot, harmonic)
    senders     (atom, slot)
    """

    radial: Tensor
    directions: Tensor
    senders: Tensor


class DegreeMixing(nn.Module):
    """A matrix over channels for each degree.

    degrees  of each component
    """

    degrees: Tensor

    def __init__(self, degrees: tuple[int, ...], n_in: int, n_out: int):
        super().__init__()
        self.register_buffer("degrees", torch.tensor(degrees), persistent=False)
        self.weight = nn.Parameter(torch.randn(max(degrees) + 1, n_in, n_out) / n_in**0.5)

    def forward(self, components: Tensor) -> Tensor:
        """(component, atom, n_in) -> (component, atom, n_out)"""
        return components @ self.weight.index_select(0, self.degrees)

    @torch.no_grad()
    def calibrate(self, components: Tensor, size: float = 1.0) -> None:
        """Scale the output so that the mean square of every degree is that of one harmonic of this size."""
        mixed = self(components)
        for degree in range(len(self.weight)):
            part = mixed[self.degrees == degree]
            self.weight[degree] *= size / part.square().mean().sqrt().clamp(min=1e-6)


class Density(nn.Module):
    """Σ_b R_n Y_k s_c mixed per degree over (n, c).   (eq. 3)"""

    def __init__(self, l_max: int, n_radial: int, n_in: int, n_out: int):
        super().__init__()
        self.mixing = DegreeMixing(harmonic_degrees(l_max), n_radial * n_in, n_out)

    def raw(self, around: Surroundings, scalars: Tensor) -> Tensor:
        """scalars (atom, slot, channel) -> (harmonic, atom, radial * channel)"""
        weighted = (around.radial.unsqueeze(-1) * scalars.unsqueeze(-2)).flatten(-2)
        return (around.directions.transpose(1, 2) @ weighted).transpose(0, 1)

    def forward(self, around: Surroundings, scalars: Tensor) -> Tensor:
        """(harmonic, atom, n_out)"""
        return self.mixing(self.raw(around, scalars))

    def calibrate(self, around: Surroundings, scalars: Tensor, size: float = 1.0) -> None:
        self.mixing.calibrate(self.raw(around, scalars), size)


class ElementMessage(nn.Module):
    """In the first round atoms only know their elements."""

    def __init__(self, settings: ExpansionSettings):
        super().__init__()
        self.density = Density(settings.l_max, settings.n_radial, settings.species_channels, settings.channels)

    def forward(self, around: Surroundings, elements: Tensor, species: Tensor) -> Tensor:
        """elements (atom, z) -> (harmonic, atom, channel)"""
        return self.density(around, gathered(elements, around.senders))

    def calibrate(self, around: Surroundings, elements: Tensor, species: Tensor) -> None:
        self.density.calibrate(around, gathered(elements, around.senders))


class Covariants(KeepsDoubleBuffers):
    """A polynomial of each channel's function on the sphere, as components mixed over channels.   (eqs. 5, 6)"""

    double_buffers = ("projection",)
    projection: Tensor
    offset: Tensor

    def __init__(self, settings: ExpansionSettings, message: MessageSettings):
        super().__init__()
        tables = sphere_products(settings.l_max, settings.body_order, message.rank, message.quadrature_degree)
        self.register_buffer("projection", tables.projection, persistent=False)
        shape = (settings.body_order, settings.n_species, settings.channels)
        typical = [odd_factorial(2 * power - 1) ** -0.5 for power in range(1, settings.body_order + 1)]
        weight = torch.randn(settings.body_order, 1, settings.channels) + 0.3 * torch.randn(shape)
        self.weight = nn.Parameter(weight * torch.tensor(typical).view(-1, 1, 1))
        self.mixing = DegreeMixing(harmonic_degrees(message.rank), settings.channels, message.channels)
        self.register_buffer("offset", torch.zeros(message.channels))

    def products(self, values: Tensor, species: Tensor) -> Tensor:
        """values (point, atom, channel) -> (component, atom, channel)"""
        *lower, polynomial = self.weight[:, species]
        for weight in reversed(lower):
            polynomial = torch.addcmul(weight, polynomial, values)
        polynomial = polynomial * values
        projected = self.projection.to(values.dtype) @ polynomial.flatten(1)
        return projected.view(-1, *values.shape[1:])

    def forward(self, values: Tensor, species: Tensor) -> Tensor:
        """values (point, atom, channel) -> (component, atom, message channel)"""
        mixed = self.mixing(self.products(values, species))
        return torch.cat([mixed[:1] - self.offset, mixed[1:]])

    def calibrate(self, values: Tensor, species: Tensor) -> None:
        """Zero mean of scalars and unit size of all ranks."""
        products = self.products(values, species)
        mean = products[:1].mean(dim=1, keepdim=True)
        self.mixing.calibrate(torch.cat([products[:1] - mean, products[1:]]))
        self.offset.copy_((mean @ self.mixing.weight[:1]).flatten())


class CovariantMessage(nn.Module):
    """Covariants of the neighbours, projected on the direction to them and carried as they are.   (eq. 4)"""

    def __init__(self, settings: ExpansionSettings, message: MessageSettings):
        super().__init__()
        self.n_components = n_harmonics(message.rank)
        self.covariants = Covariants(settings, message)
        self.density = Density(settings.l_max, settings.n_radial, message.channels, settings.channels)
        degrees = harmonic_degrees(message.rank)
        self.carried = DegreeMixing(degrees, settings.n_radial * message.channels, settings.channels)

    def arriving(self, around: Surroundings, values: Tensor, species: Tensor) -> Tensor:
        """(atom, slot, component, channel)"""
        return gathered(self.covariants(values, species).transpose(0, 1), around.senders)

    def projected(self, around: Surroundings, arriving: Tensor) -> Tensor:
        """(atom, slot, channel)"""
        directions = around.directions[..., : self.n_components]
        return (directions.unsqueeze(-1) * arriving).sum(-2)

    def summed(self, around: Surroundings, arriving: Tensor) -> Tensor:
        """(component, atom, radial * channel)"""
        sums = around.radial.transpose(1, 2) @ arriving.flatten(2)
        return sums.view(*sums.shape[:2], *arriving.shape[2:]).permute(2, 0, 1, 3).flatten(2)

    def forward(self, around: Surroundings, values: Tensor, species: Tensor) -> Tensor:
        """values (point, atom, channel) of the round before -> (harmonic, atom, channel)"""
        arriving = self.arriving(around, values, species)
        density = self.density(around, self.projected(around, arriving))
        carried = self.carried(self.summed(around, arriving))
        return torch.cat([density[: self.n_components] + carried, density[self.n_components :]])

    def calibrate(self, around: Surroundings, values: Tensor, species: Tensor) -> None:
        self.covariants.calibrate(values, species)
        arriving = self.arriving(around, values, species)
        self.density.calibrate(around, self.projected(around, arriving), PROJECTED_SHARE**0.5)
        self.carried.calibrate(self.summed(around, arriving), (1 - PROJECTED_SHARE) ** 0.5)


Message = ElementMessage | CovariantMessage


class SphereLayer(KeepsDoubleBuffers):
    """Functions on the sphere from the moments of a round, and the standardised means of their powers."""

    double_buffers = ("evaluation", "weights")
    evaluation: Tensor
    weights: Tensor
    degrees: Tensor
    shift: Tensor
    scale: Tensor

    def __init__(self, settings: ExpansionSettings, message: MessageSettings):
        super().__init__()
        tables = sphere_products(settings.l_max, settings.body_order, message.rank, message.quadrature_degree)
        unit_size = n_harmonics(settings.l_max) ** -0.5  # of a function whose components have size one
        self.register_buffer("evaluation", unit_size * tables.evaluation, persistent=False)
        self.register_buffer("weights", tables.projection[:1], persistent=False)
        self.register_buffer("degrees", torch.tensor(harmonic_degrees(settings.l_max)), persistent=False)
        self.receiver = nn.Parameter(1 + 0.3 * torch.randn(settings.l_max + 1, settings.n_species, settings.channels))
        self.order = settings.body_order
        self.n_features = settings.body_order * settings.channels
        self.register_buffer("shift", torch.zeros(self.n_features))
        self.register_buffer("scale", torch.ones(self.n_features))

    def values(self, moments: Tensor, species: Tensor) -> Tensor:
        """moments (harmonic, atom, channel) -> (point, atom, channel)"""
        received = moments * self.receiver[:, species].index_select(0, self.degrees)
        values = self.evaluation.to(moments.dtype) @ received.flatten(1)
        return values.view(-1, *moments.shape[1:])

    def means(self, values: Tensor) -> Tensor:
        """(atom, feature)"""
        powers = [values]
        for _ in range(1, self.order):
            powers.append(powers[-1] * values)
        weights = self.weights.to(values.dtype)
        return torch.cat([(weights @ power.flatten(1)).view(values.shape[1:]) for power in powers], dim=1)

    def forward(self, values: Tensor) -> Tensor:
        """-> (atom, feature)"""
        return (self.means(values) - self.shift) / self.scale

    def calibrate(self, values: Tensor) -> None:
        """Zero mean and unit variance of every feature."""
        means = self.means(values)
        spread = means.std(dim=0, unbiased=False)
        smallest = SMALLEST_RELATIVE_SPREAD * spread.square().mean().sqrt()
        self.shift.copy_(means.mean(dim=0))
        self.scale.copy_(spread.clamp(min=max(float(smallest), 1e-6)))


class EquivariantACE(nn.Module):
    """Invariant features of every atom from rounds that exchange covariants."""

    def __init__(self, settings: ExpansionSettings, layers: int, message: MessageSettings):
        super().__init__()
        self.settings = settings
        self.embedding = nn.Parameter(torch.randn(settings.n_species, settings.species_channels))
        later = [CovariantMessage(settings, message) for _ in range(1, layers)]
        self.messages = nn.ModuleList([ElementMessage(settings), *later])
        self.layers = nn.ModuleList([SphereLayer(settings, message) for _ in range(layers)])
        self.n_features = settings.species_channels + layers * settings.body_order * settings.channels

    def forward(self, around: Environments, species: Tensor) -> Tensor:
        """species (atom,) -> (atom, feature)"""
        surroundings, values = self.surroundings(around), self.embedding[species]
        features = [values]
        for message, layer in self.rounds():
            values = layer.values(message(surroundings, values, species), species)
            features.append(layer(values))
        return torch.cat(features, dim=1)

    def rounds(self) -> Iterator[tuple[Message, SphereLayer]]:
        for message, layer in zip(self.messages, self.layers, strict=True):
            assert isinstance(message, ElementMessage | CovariantMessage) and isinstance(layer, SphereLayer)
            yield message, layer

    def surroundings(self, around: Environments) -> Surroundings:
        return Surroundings(around.radial, harmonics(around.monomials, self.settings.l_max), around.senders)

    @torch.no_grad()
    def calibrate(self, around: Environments, species: Tensor) -> None:
        """Standardise every round on these environments, first to last."""
        surroundings, values = self.surroundings(around), self.embedding[species]
        for message, layer in self.rounds():
            message.calibrate(surroundings, values, species)
            values = layer.values(message(surroundings, values, species), species)
            layer.calibrate(values)


def gathered(values: Tensor, senders: Tensor) -> Tensor:
    """(atom, ...) at each neighbour: (atom, slot, ...)"""
    return values.index_select(0, senders.flatten()).view(*senders.shape, *values.shape[1:])
