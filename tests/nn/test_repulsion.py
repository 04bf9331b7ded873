"""Screened nuclear repulsion."""

import math

import pytest
import torch

from cace_qeq.nn.repulsion import ScreenedRepulsion
from cace_qeq.units import COULOMB

SPECIES = [1, 11, 17]


def pair_energy(module: ScreenedRepulsion, distance: float, first: int = 1, second: int = 2) -> float:
    """eV  of two atoms of the species with these indices."""
    displacements = torch.tensor([[[distance, 0.0, 0.0]], [[-distance, 0.0, 0.0]]], dtype=torch.float64)
    return module(displacements, torch.tensor([[1], [0]]), torch.tensor([first, second])).sum().item()


@pytest.fixture
def module() -> ScreenedRepulsion:
    return ScreenedRepulsion(SPECIES, 4.0).double()


def test_bare_nuclei_repel_at_very_short_distance(module):
    # φ(x) = 1 - 1.42 x + ...: at 1e-6 Å the screening takes 1e-5; the four amplitudes add up to 1.00000
    assert pair_energy(module, 1e-6) == pytest.approx(COULOMB * 11 * 17 / 1e-6, rel=3e-5)


def test_universal_screening_function(module):
    """Na-Na at 2.25 Å with the published formula, and its screening length from its own constants."""
    x = 2.25 * 2 * 11**0.23 / (0.8854 * 0.529177)
    screening = 0.02817 * math.exp(-0.20162 * x) + 0.28022 * math.exp(-0.4029 * x) + 0.50986 * math.exp(-0.94229 * x)
    envelope = 1 - (x_cut := 2.25 / 4.0) ** 6 * (28 - 48 * x_cut + 21 * x_cut**2)
    assert pair_energy(module, 2.25, 1, 1) == pytest.approx(COULOMB * 121 / 2.25 * screening * envelope, rel=1e-4)


def test_ends_at_the_cutoff_and_decreases_on_the_way(module):
    energies = [pair_energy(module, r) for r in (0.5, 1.0, 2.0, 3.0, 3.9, 4.0, 1000.0)]
    assert energies == sorted(energies, reverse=True)
    assert energies[-3] > energies[-2] == energies[-1] == 0


def test_learned_strength_and_range_stay_symmetric_and_repulsive(module):
    torch.manual_seed(0)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=2.0)
    assert pair_energy(module, 2.0, 0, 2) == pytest.approx(pair_energy(module, 2.0, 2, 0), rel=1e-12)
    assert pair_energy(module, 1.0, 0, 2) > pair_energy(module, 2.0, 0, 2) > 0
