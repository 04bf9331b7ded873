"""What atoms make of their moments: powers on the sphere, and covariants of these to send.

Arrays on atoms hold the component first, (component, atom, channel), those to be mixed the atom.

Equations are those of docs/equivariant.
"""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from cace_qeq.features import harmonic_degrees, mixed, n_harmonics, sphere_products
from cace_qeq.features.harmonics import odd_factorial
from cace_qeq.nn.ace import ExpansionSettings, degree_matrices, standardisation, typical_sizes


@dataclass(frozen=True)
class MessageSettings:
    """What atoms send; the fields of the same names in ModelConfig explain them."""

    rank: int
    channels: int
    quadrature_degree: int | None = None
    residual: bool = False
    normalization: Literal["none", "rms"] = "none"
    product_passes: int = 1


class DegreeMixing(nn.Module):
    """A matrix over channels for each degree.

    degrees  of each component
    """

    def __init__(self, degrees: tuple[int, ...], n_in: int, n_out: int):
        super().__init__()
        self.degrees = degrees
        self.weights = degree_matrices(max(degrees), n_in, n_out)

    def forward(self, components: Tensor) -> Tensor:
        """(atom, component, n_in) -> (component, atom, n_out)"""
        matrices = list(self.weights)  # each item of a ParameterList is looked up by its name, which is slow
        return mixed(components, torch.stack([matrices[degree] for degree in self.degrees]), (len(self.degrees),))

    @torch.no_grad()
    def calibrate(self, components: Tensor, size: float = 1.0) -> None:
        """Scale the output so that the mean square of every degree is that of one harmonic of this size.

        components  (atom, component, n_in)
        """
        found = typical_sizes(self(components), torch.tensor(self.degrees))
        for weight, of_degree in zip(self.weights, found, strict=True):
            weight.mul_(size / of_degree)


class Covariants(nn.Module):
    """Components of the powers, weighted by element, summed and mixed over channels per degree.   (eqs. E5, E6)"""

    offset: Tensor

    def __init__(self, settings: ExpansionSettings, message: MessageSettings):
        super().__init__()
        order = settings.body_order
        typical = torch.tensor([odd_factorial(2 * power - 1) ** -0.5 for power in range(1, order + 1)])
        common = torch.randn(order, 1, settings.channels)
        of_element = 0.3 * torch.randn(order, settings.n_species, settings.channels)
        self.weight = nn.Parameter((common + of_element) * typical.view(-1, 1, 1))
        self.mixing = DegreeMixing(harmonic_degrees(message.rank), settings.channels, message.channels)
        self.register_buffer("offset", torch.zeros(message.channels))

    def weighted(self, powers: Tensor, species: Tensor) -> Tensor:
        """powers (order, component, atom, channel) -> (component, atom, channel)"""
        return (self.weight.index_select(1, species).unsqueeze(1) * powers).sum(0)

    def forward(self, powers: Tensor, species: Tensor) -> Tensor:
        """powers (order, component, atom, channel) -> (component, atom, message channel)"""
        covariants = self.mixing(self.weighted(powers, species).transpose(0, 1))
        return covariants - widened(self.offset.view(1, 1, -1), len(covariants))

    def calibrate(self, powers: Tensor, species: Tensor) -> None:
        """Zero mean of scalars and unit size of all ranks."""
        weighted = self.weighted(powers, species)
        mean = weighted[:1].mean(dim=1, keepdim=True)
        self.mixing.calibrate(torch.cat([weighted[:1] - mean, weighted[1:]]).transpose(0, 1))
        self.offset.copy_((mean @ self.mixing.weights[0]).flatten())


class SpherePowers(nn.Module):
    """Powers of the functions that moments are on the sphere, and the standardised means of them.   (eqs. E5, E6)

    The rank of the message is that up to which components of the powers are asked for.
    """

    degrees: Tensor
    shift: Tensor
    scale: Tensor

    def __init__(self, settings: ExpansionSettings, message: MessageSettings):
        super().__init__()
        self.products = sphere_products(settings.l_max, settings.body_order, message.rank, message.quadrature_degree)
        self.normalized = message.normalization == "rms"
        self.size = n_harmonics(settings.l_max) ** -0.5  # of a component, so that functions begin at size one
        self.receiver = nn.Parameter(1 + 0.3 * torch.randn(settings.l_max + 1, settings.n_species, settings.channels))
        self.n_features = settings.body_order * settings.channels
        self.register_buffer("degrees", torch.tensor(harmonic_degrees(settings.l_max)), persistent=False)
        self.register_buffer("shift", torch.zeros(self.n_features))
        self.register_buffer("scale", torch.ones(self.n_features))

    def forward(self, moments: Tensor, species: Tensor) -> Tensor:
        """moments (harmonic, atom, channel) -> (order, component, atom, channel)"""
        received = moments * (self.size * self.receiver.index_select(1, species)).index_select(0, self.degrees)
        if self.normalized:
            received = received / size_of(moments)
        products = self.products.to(moments.dtype, moments.device)
        return products(received.flatten(1)).unflatten(2, moments.shape[1:])

    def features(self, powers: Tensor) -> Tensor:
        """powers (order, component, atom, channel) -> (atom, feature)"""
        return (means(powers) - self.shift) / self.scale

    def calibrate(self, moments: Tensor, species: Tensor) -> None:
        """Zero mean and unit variance of every feature."""
        shift, scale = standardisation(means(self(moments, species)))
        self.shift.copy_(shift)
        self.scale.copy_(scale)


class TwoPasses(nn.Module):
    """Powers of functions to which covariants of a first product are added: of up to ν² densities.   (eq. E8)"""

    def __init__(self, settings: ExpansionSettings, message: MessageSettings):
        super().__init__()
        between = replace(message, rank=settings.l_max, channels=settings.channels, quadrature_degree=None)
        self.first = SpherePowers(settings, between)
        self.between = Covariants(settings, between)
        self.last = SpherePowers(settings, message)

    def forward(self, moments: Tensor, species: Tensor) -> Tensor:
        """moments (harmonic, atom, channel) -> (order, component, atom, channel)"""
        return self.last(self.second(moments, species), species)

    def second(self, moments: Tensor, species: Tensor) -> Tensor:
        """Moments of the second pass, (harmonic, atom, channel)."""
        return (moments + self.between(self.first(moments, species), species)) / 2**0.5

    def features(self, powers: Tensor) -> Tensor:
        """powers (order, component, atom, channel) -> (atom, feature)"""
        return self.last.features(powers)

    def calibrate(self, moments: Tensor, species: Tensor) -> None:
        """Unit size between the passes, and of every feature."""
        self.between.calibrate(self.first(moments, species), species)
        self.last.calibrate(self.second(moments, species), species)


def size_of(moments: Tensor) -> Tensor:
    """√((1 + mean square) / 2) of each atom's moments, (harmonic, atom, channel) -> (atom, 1); smooth without any."""
    return ((1 + moments.square().mean(dim=(0, 2))) / 2).sqrt().unsqueeze(1)


def widened(components: Tensor, n_components: int) -> Tensor:
    """(component, atom, channel) with zeros for higher components"""
    return pad(components, (0, 0, 0, 0, 0, n_components - len(components)))


def means(powers: Tensor) -> Tensor:
    """(order, component, atom, channel) -> (atom, order * channel), the components of rank 0"""
    return powers[:, 0].transpose(0, 1).flatten(1)
