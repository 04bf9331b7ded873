"""Equivariant message passing: densities of covariants, products on the sphere, covariants again.

Densities, and what is sent, hold the atom first, (atom, component, channel); what is mixed per degree the component,
(component, atom, channel): evaluation on the sphere is then one matrix product.

Equations are those of docs/equivariant.
"""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from cace_qeq.features import density, gathered, harmonic_degrees, n_harmonics, received
from cace_qeq.nn.ace import Environments, ExpansionSettings, density_of_elements
from cace_qeq.nn.covariants import Covariants, DegreeMixing, MessageSettings, SpherePowers, TwoPasses, widened

PROJECTED_SHARE = 0.5  # of the square of what arrives at first; the rest is carried
OWN_SHARE = 0.25  # of the square of moments at first, if atoms keep what they have sent


class Density(nn.Module):
    """Σ_b R_n Y_k s_c mixed per degree over (n, c).   (eq. E3)"""

    def __init__(self, l_max: int, n_radial: int, n_in: int, n_out: int):
        super().__init__()
        self.mixing = DegreeMixing(harmonic_degrees(l_max), n_radial * n_in, n_out)

    def raw(self, around: Environments, scalars: Tensor) -> Tensor:
        """scalars (atom, slot, channel) -> (atom, harmonic, radial, channel)"""
        return density(scalars, around.layout, around.harmonics)

    def mixed(self, raw: Tensor) -> Tensor:
        """(harmonic, atom, n_out)"""
        return self.mixing(raw.flatten(2))

    def forward(self, around: Environments, scalars: Tensor) -> Tensor:
        """(harmonic, atom, n_out)"""
        return self.mixed(self.raw(around, scalars))

    def calibrate(self, raw: Tensor, size: float = 1.0) -> None:
        self.mixing.calibrate(raw.flatten(2), size)


class ElementMessage(nn.Module):
    """In the first round atoms only know their elements."""

    def __init__(self, settings: ExpansionSettings):
        super().__init__()
        self.density = Density(settings.l_max, settings.n_radial, settings.species_channels, settings.channels)

    def raw(self, around: Environments, embedding: Tensor, species: Tensor) -> Tensor:
        """embedding (species, z) -> (atom, harmonic, radial, z)"""
        return density_of_elements(
            lambda channels: self.density.raw(around, gathered(channels, around.senders)), embedding, species
        )

    def forward(self, parts: list[Environments], embedding: Tensor, species: Tensor) -> Tensor:
        """embedding (species, z) -> (harmonic, atom, channel)"""
        return joined([self.density.mixed(self.raw(part, embedding, species)) for part in parts])

    def calibrate(self, around: Environments, embedding: Tensor, species: Tensor) -> None:
        self.density.calibrate(self.raw(around, embedding, species))


class CovariantMessage(nn.Module):
    """Covariants of the neighbours, projected on the direction to them and carried as they are.   (eq. E4)

    With a residual, the atom's own covariants too.
    """

    def __init__(self, settings: ExpansionSettings, message: MessageSettings):
        super().__init__()
        self.n_components = n_harmonics(message.rank)
        self.covariants = Covariants(settings, message)
        self.density = Density(settings.l_max, settings.n_radial, message.channels, settings.channels)
        degrees = harmonic_degrees(message.rank)
        self.carried = DegreeMixing(degrees, settings.n_radial * message.channels, settings.channels)
        self.own = DegreeMixing(degrees, message.channels, settings.channels) if message.residual else None

    def received(self, around: Environments, by_atom: Tensor) -> tuple[Tensor, Tensor]:
        """(atom, component, channel) -> projected (atom, slot, channel), summed (atom, component, radial · channel)"""
        n_radial = around.settings.n_radial
        functions = around.harmonics[:, : n_radial + self.n_components]
        projected, summed = received(functions, by_atom, around.senders, n_radial, around.occupied)
        return projected, summed.transpose(1, 2).flatten(2)

    def forward(self, parts: list[Environments], powers: Tensor, species: Tensor) -> Tensor:
        """powers (order, component, atom, channel) of the round before -> (harmonic, atom, channel)"""
        by_atom = self.covariants(powers, species).transpose(0, 1).contiguous()  # once, and not in each block
        arrived = [self.arriving(part, by_atom) for part in parts]
        density, carried = joined([density for density, _ in arrived]), joined([carried for _, carried in arrived])
        if self.own is not None:
            carried = carried + self.own(by_atom)
        return density + widened(carried, len(density))

    def arriving(self, around: Environments, by_atom: Tensor) -> tuple[Tensor, Tensor]:
        """Of what is projected, (harmonic, atom, channel), and of what is carried, (component, atom, channel)."""
        projected, summed = self.received(around, by_atom)
        return self.density(around, projected), self.carried(summed)

    def calibrate(self, around: Environments, powers: Tensor, species: Tensor) -> None:
        self.covariants.calibrate(powers, species)
        by_atom = self.covariants(powers, species).transpose(0, 1).contiguous()
        projected, summed = self.received(around, by_atom)
        arriving = 1.0 if self.own is None else 1 - OWN_SHARE
        self.density.calibrate(self.density.raw(around, projected), (arriving * PROJECTED_SHARE) ** 0.5)
        self.carried.calibrate(summed, (arriving * (1 - PROJECTED_SHARE)) ** 0.5)
        if self.own is not None:
            self.own.calibrate(by_atom, OWN_SHARE**0.5)


Message = ElementMessage | CovariantMessage


class EquivariantACE(nn.Module):
    """Invariant features of every atom from rounds that exchange covariants."""

    def __init__(self, settings: ExpansionSettings, layers: int, message: MessageSettings):
        super().__init__()
        self.settings = settings
        self.embedding = nn.Parameter(torch.randn(settings.n_species, settings.species_channels))
        later = [CovariantMessage(settings, message) for _ in range(1, layers)]
        self.messages = nn.ModuleList([ElementMessage(settings), *later])
        passes = TwoPasses if message.product_passes == 2 else SpherePowers
        asked = [message] * (layers - 1) + [replace(message, rank=0)]  # nobody asks for the last round's covariants
        self.powers = nn.ModuleList([passes(settings, each) for each in asked])
        self.n_features = settings.species_channels + layers * settings.body_order * settings.channels

    def forward(self, around: Environments, species: Tensor) -> Tensor:
        """species (atom,) -> (atom, feature)"""
        parts, known = around.parts(), self.embedding
        features = [self.embedding.index_select(0, species)]
        for message, powers in self.rounds():
            known = powers(message(parts, known, species), species)
            features.append(powers.features(known))
        return torch.cat(features, dim=1)

    def rounds(self) -> Iterator[tuple[Message, SpherePowers | TwoPasses]]:
        """What arrives and what is made of it, first to last."""
        for message, powers in zip(self.messages, self.powers, strict=True):
            assert isinstance(message, Message) and isinstance(powers, SpherePowers | TwoPasses)
            yield message, powers

    @torch.no_grad()
    def calibrate(self, around: Environments, species: Tensor) -> None:
        """Standardise every round on these environments, first to last."""
        known = self.embedding
        for message, powers in self.rounds():
            message.calibrate(around, known, species)
            moments = message([around], known, species)
            powers.calibrate(moments, species)
            known = powers(moments, species)


def joined(parts: list[Tensor]) -> Tensor:
    """(component, atom, channel) of the atoms of all parts"""
    return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]
