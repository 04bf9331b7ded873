"""Equilibrated charges handed back to the short-range energy.

Ko et al., Nat. Commun. 12, 398 (2021) append them to the features that the energy is read from;
Maruf, Kim & Ahmad, arXiv 2503.17949, embed them in the senders of a second pass.
"""

import torch
from torch import Tensor, nn

from cace_qeq.nn.ace import ACELayer, Environments, ExpansionSettings, density_of_elements
from cace_qeq.nn.mlp import mlp


class NoFeedback(nn.Module):
    """The short-range energy does not see the charges."""

    def __init__(self, n_features: int):
        super().__init__()
        self.n_features = n_features

    def forward(self, around: Environments, features: Tensor, charges: Tensor, species: Tensor) -> Tensor:
        """features (atom, feature), charges (atom,) e -> (atom, n_features)"""
        return features

    def calibrate(self, around: Environments, features: Tensor, charges: Tensor, species: Tensor) -> None:
        """Nothing to standardise."""


class ReadoutFeedback(NoFeedback):
    """An atom's own charge is one more feature."""

    def __init__(self, n_features: int):
        super().__init__(n_features + 1)

    def forward(self, around: Environments, features: Tensor, charges: Tensor, species: Tensor) -> Tensor:
        return torch.cat([features, charges.to(features.dtype).unsqueeze(-1)], dim=1)


class EmbeddingFeedback(ReadoutFeedback):
    """The same, and one more round of the expansion whose senders know their charges.

    As in other later rounds, elements have a density of their own: moments of messages alone make training diverge.
    """

    def __init__(self, settings: ExpansionSettings, n_features: int, message_channels: int):
        super().__init__(n_features)
        self.elements = nn.Parameter(torch.randn(settings.n_species, settings.species_channels))
        self.message = mlp(n_features + 1, [2 * message_channels], message_channels)
        self.layer = ACELayer(settings, (settings.species_channels, message_channels))
        self.n_features += self.layer.n_features

    def forward(self, around: Environments, features: Tensor, charges: Tensor, species: Tensor) -> Tensor:
        charged = super().forward(around, features, charges, species)
        return torch.cat([charged, self.layer(self.densities(around, charged, species), species)], dim=1)

    @torch.no_grad()
    def calibrate(self, around: Environments, features: Tensor, charges: Tensor, species: Tensor) -> None:
        """Standardise the round's features on these environments."""
        charged = super().forward(around, features, charges, species)
        self.layer.calibrate(self.densities(around, charged, species), species)

    def densities(self, around: Environments, charged: Tensor, species: Tensor) -> list[Tensor]:
        """Of the senders' elements, and of what they make of their features and charges."""
        elements = density_of_elements(around.density, self.elements, species)
        return [elements, around.density(self.message(charged))]
