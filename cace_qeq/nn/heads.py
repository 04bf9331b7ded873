"""Scalars per atom read from its features."""

from collections.abc import Sequence

from torch import Tensor, nn

from cace_qeq.nn.mlp import mlp


class Readout(nn.Module):
    """A linear map plus a multilayer perceptron: the first learns fast, the second what is left. Starts at zero."""

    def __init__(self, n_features: int, hidden: Sequence[int]):
        super().__init__()
        self.linear = nn.Linear(n_features, 1, bias=False)
        self.network = mlp(n_features, hidden, 1)
        self.linear_scale = n_features**-0.5  # an optimiser's step moves the sum as it moves the network
        for last in (self.linear.weight, *self.network[-1].parameters()):
            nn.init.zeros_(last)

    def forward(self, features: Tensor) -> Tensor:
        """features (atom, feature) -> (atom,)"""
        return (self.linear_scale * self.linear(features) + self.network(features)).squeeze(-1)
