"""Where the valence shells of an element end, in its environment."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from cace_qeq.electrostatics import Walls
from cace_qeq.nn.heads import Readout

INITIAL_CHARGE = 1.0  # e, one electron more or less
INITIAL_STIFFNESS = 10.0  # eV/e²
INITIAL_SOFTNESS = 0.05  # e
STIFFNESS_UNIT = 20.0  # eV/e² per unit of the parameter, as for the hardness


class ShellWalls(nn.Module):
    """Charges beyond which an atom is harder: one pair per element, moved by the environment.

    A wall is where the charge of a closed shell stays, so its place is what the environment decides.
    """

    def __init__(self, n_species: int, n_features: int, hidden: Sequence[int]):
        super().__init__()
        self.place = nn.Parameter(torch.tensor([[-INITIAL_CHARGE, INITIAL_CHARGE]]).repeat(n_species, 1))
        stiffness = torch.tensor(INITIAL_STIFFNESS).expm1().log() / STIFFNESS_UNIT
        self.stiffness = nn.Parameter(stiffness.repeat(n_species, 2))
        self.softness = nn.Parameter(torch.tensor(INITIAL_SOFTNESS).log().repeat(n_species))
        self.lower = Readout(n_features, hidden)
        self.upper = Readout(n_features, hidden)

    def forward(self, features: Tensor, species: Tensor) -> Walls:
        """features (atom, feature), species (atom,)"""
        place = self.place[species]
        return Walls(
            lower=(place[:, 0] + self.lower(features)).double(),
            upper=(place[:, 1] + self.upper(features)).double(),
            stiffness=softplus(STIFFNESS_UNIT * self.stiffness.double())[species],
            softness=self.softness.double().exp()[species],
        )
