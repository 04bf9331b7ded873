"""Densities of the neighbours' elements do not depend on whether elements or channels are more."""

import pytest
import torch

from all_derivatives import derivatives, random
from cace_qeq.nn.ace import ExpansionSettings, density_of_elements, environments

N_ATOMS = 6
SENDERS = torch.tensor([[b for b in range(N_ATOMS) if b != a] for a in range(N_ATOMS)])


@pytest.mark.parametrize(("n_species", "n_channels"), [(1, 4), (2, 4), (4, 4), (5, 4), (3, 1)])
def test_derivatives_equal_those_of_embedded_neighbours(n_species, n_channels):
    settings = ExpansionSettings(n_species, 4.0, 3, n_channels, 2, 2, 2, "complete", "none")
    species = torch.arange(N_ATOMS) % n_species

    def found(positions, embedding):
        around = environments(positions[SENDERS] - positions.unsqueeze(1), SENDERS, settings)
        return density_of_elements(around.density, embedding, species)

    def expected(positions, embedding):
        around = environments(positions[SENDERS] - positions.unsqueeze(1), SENDERS, settings)
        return around.density(embedding.index_select(0, species))

    positions = 1.5 * random(N_ATOMS, 3, seed=1).detach()
    arguments = positions.requires_grad_(), random(n_species, n_channels, seed=2)
    for one, other in zip(derivatives(found, *arguments), derivatives(expected, *arguments), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12 * other.abs().max().item())
