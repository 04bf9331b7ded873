"""Point charges by torch-pme, another implementation of Ewald and particle-mesh sums; skipped where it is missing.

Its potentials are per unit of k_e and its "smearing" is our η.
"""

import pytest
import torch

from cace_qeq.electrostatics import Solver, coulomb_energy
from cace_qeq.units import COULOMB
from charged_structures import crystal, crystal_pairs

torchpme = pytest.importorskip("torchpme")

STRUCTURE = crystal(8)
CHARGES = torch.linspace(-1, 1, 8, dtype=torch.float64)


def theirs(calculator: torch.nn.Module, cutoff: float) -> list[torch.Tensor]:
    """Energy, forces and dE/dstrain; their potentials hold the factor 1/2."""
    positions = STRUCTURE.positions.clone().requires_grad_()
    strain = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    moved, cell = positions + positions @ strain, STRUCTURE.cell + STRUCTURE.cell @ strain
    found = crystal_pairs(STRUCTURE.positions, STRUCTURE.cell, cutoff)
    distances = (moved[found.neighbor] - moved[found.center] + found.shift.double() @ cell).norm(dim=1)
    pairs = torch.stack([found.center, found.neighbor], dim=1)
    potential = calculator.double()(CHARGES.unsqueeze(1), cell, moved, pairs, distances)
    energy = COULOMB * torch.dot(CHARGES, potential.squeeze(1))
    by_positions, by_strain = torch.autograd.grad(energy, [positions, strain])
    return [energy.detach(), -by_positions, by_strain]


def ours(method: str) -> list[torch.Tensor]:
    positions = STRUCTURE.positions.clone().requires_grad_()
    strain = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    moved, cell = positions + positions @ strain, STRUCTURE.cell + STRUCTURE.cell @ strain
    solver = Solver(method, mesh_accuracy=1e-11)
    energy = coulomb_energy(moved, cell, True, CHARGES, torch.zeros_like(CHARGES), solver=solver)
    by_positions, by_strain = torch.autograd.grad(energy, [positions, strain])
    return [energy.detach(), -by_positions, by_strain]


@pytest.mark.parametrize("method", ["structure_factors", "mesh"])
def test_point_charges_agree_with_its_ewald_sum(method):
    expected = theirs(torchpme.EwaldCalculator(torchpme.CoulombPotential(smearing=0.8), lr_wavelength=0.4), 7.0)
    for found, other in zip(ours(method), expected, strict=True):
        assert torch.allclose(found, other, rtol=0, atol=1e-8)  # 4e-9 with its reciprocal sum cut at 2π/0.4


def test_point_charges_agree_with_its_particle_mesh():
    """Within the error of its mesh, of seven nodes by Lagrange interpolation."""
    potential = torchpme.CoulombPotential(smearing=0.8)
    expected = theirs(torchpme.PMECalculator(potential, mesh_spacing=0.16, interpolation_nodes=7), 7.0)
    for found, other in zip(ours("mesh"), expected, strict=True):
        assert torch.allclose(found, other, rtol=0, atol=1e-4)
