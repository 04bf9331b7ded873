"""A network with its slopes, as recorded."""

import torch
from torch import Tensor, nn

from cace_qeq.model import CACEQEq
from cace_qeq.nn.ace import Environments


class Network(nn.Module):
    """What atoms contribute to the energy, and its slopes by the displacements to their neighbours."""

    def __init__(self, model: CACEQEq):
        super().__init__()
        self.representation, self.energy_head = model.representation, model.energy_head

    @torch.enable_grad()
    def forward(self, displacements: Tensor, senders: Tensor, species: Tensor) -> tuple[Tensor, Tensor]:
        """-> (atom,) and (atom, 3, slot), in units of the energy head, both differentiable by parameters"""
        place = displacements.detach().requires_grad_()
        around = Environments(place, senders, None, self.representation.settings)
        energies = self.energy_head(self.representation(around, species))
        (slopes,) = torch.autograd.grad(energies.sum(), place, create_graph=True)
        return energies, slopes
