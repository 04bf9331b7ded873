"""Slabs: the matrix against a sum over the plane's own reciprocal vectors, and against very much vacuum."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from cace_qeq.electrostatics import Solver, coulomb_matrix, solve_charges
from cace_qeq.units import COULOMB
from charged_structures import ChargedStructure, crystal, geometry_of, joined, molecule, slab

NEUTRAL, CHARGED = slab(6), slab(5, total_charge=1.0)
BOTH = pytest.mark.parametrize("structure", [NEUTRAL, CHARGED], ids=["neutral", "charged"])


def matrix_of(structure, background="point"):
    return coulomb_matrix(geometry_of(structure), structure.width, background)[0]


def sum_over_the_plane(structure, reach=26):
    """Two-dimensional Ewald sum of Gaussians, whose width makes it converge without a real-space part.

    A_ab = (π k_e / A) Σ_k cos(k.r) [e^{kz} erfc(kγ/√2 + z/√2γ) + e^{-kz} erfc(kγ/√2 - z/√2γ)] / k
           - (2π k_e / A) [z erf(z/√2γ) + √(2/π) γ exp(-z²/2γ²)]
    Parry, doi 10.1016/0039-6028(75)90362-3.
    """
    vectors = structure.cell[structure.pbc]
    normal = torch.linalg.cross(*vectors)
    area = normal.norm()
    displacement = structure.positions.unsqueeze(0) - structure.positions.unsqueeze(1)
    z = displacement @ normal / area
    spread = (structure.width.square().unsqueeze(0) + structure.width.square().unsqueeze(1)).sqrt()
    grid = torch.cartesian_prod(*[torch.arange(-reach, reach + 1, dtype=torch.float64)] * 2)
    waves = 2 * math.pi * grid[grid.any(1)] @ torch.linalg.pinv(vectors).T
    k = waves.norm(dim=1).view(-1, 1, 1)
    both = sum(
        (sign * k * z + torch.special.log_ndtr(-(k * spread + sign * z / spread)) + math.log(2)).exp()
        for sign in (1, -1)
    )
    moving = (torch.cos(torch.einsum("kx,abx->kab", waves, displacement)) * both / k).sum(0)
    still = z * (z / (math.sqrt(2) * spread)).erf()
    still = still + math.sqrt(2 / math.pi) * spread * (-(z**2) / (2 * spread**2)).exp()
    return math.pi * COULOMB / area * (moving - 2 * still)


def arguments(structure, **changes):
    return {**vars(structure), "pbc": structure.pbc.tolist(), **changes}


def turned(structure, rotation):
    turn = torch.from_numpy(rotation)
    return replace(structure, positions=structure.positions @ turn, cell=structure.cell @ turn)


@BOTH
@pytest.mark.parametrize("background", ["point", "gaussian"])
def test_matrix_is_the_sum_over_the_plane(structure, background):
    """Also without any background: a slab's charge, unlike a crystal's, has an energy of its own."""
    found, expected = matrix_of(structure, background), sum_over_the_plane(structure)
    assert torch.allclose(found, expected, rtol=0, atol=1e-9)  # the oracle's own reach


def test_a_slab_is_the_limit_of_a_crystal_with_much_vacuum():
    """The crystal's error is that of its dipole, 2π M_z² / V: extrapolated from two heights it vanishes."""
    structure = slab(4)
    normal = torch.linalg.cross(*structure.cell[structure.pbc])
    energies = []
    for height in (80.0, 160.0):
        closed = structure.cell.clone()
        closed[1] = height * normal / normal.norm()
        values = arguments(structure, cell=closed, pbc=True)
        energies.append(float(solve_charges(**values).energy))
    expected = float(solve_charges(**arguments(structure)).energy)
    slower = abs(energies[1] - expected)
    assert 2 * energies[1] - energies[0] == pytest.approx(expected, abs=0.05 * slower)  # next order 1/L²
    assert abs(energies[0] - expected) == pytest.approx(2 * slower, rel=0.05)


@BOTH
def test_any_orientation_of_the_open_axis(structure):
    expected = solve_charges(**arguments(structure))
    rng = np.random.default_rng(3)
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    first, _, second = structure.cell
    zero = torch.zeros(3, dtype=torch.float64)
    images = torch.arange(len(structure.width)).unsqueeze(1) * first
    others = {
        "turned": turned(structure, rotation),
        "open first": replace(structure, cell=torch.stack([zero, first, second])),
        "open last, left-handed": replace(structure, cell=torch.stack([second, first, zero])),
        "skewed": replace(structure, cell=torch.stack([first + 2 * second, zero, second])),
        "moved": replace(structure, positions=structure.positions + torch.tensor([3.0, -20.0, 7.0])),
        "wrapped": replace(structure, positions=structure.positions + images),
    }
    for name, other in others.items():
        found = solve_charges(**arguments(other))
        assert torch.allclose(found.charges, expected.charges, rtol=0, atol=1e-10), name
        assert torch.allclose(found.energy, expected.energy, rtol=0, atol=1e-10), name


def test_the_vector_along_the_open_direction_counts_for_nothing():
    expected = solve_charges(**arguments(CHARGED)).energy
    for vector in ([0.0, 1.0, 0.0], [3.0, 90.0, -5.0]):
        cell = CHARGED.cell + torch.tensor([[0.0] * 3, vector, [0.0] * 3])
        assert solve_charges(**arguments(CHARGED, cell=cell)).energy == expected


@BOTH
def test_forces_and_stress_against_finite_differences(structure):
    positions = structure.positions.clone().requires_grad_()
    strain = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)

    def energy(positions, strain):
        deformation = torch.eye(3, dtype=torch.float64) + strain
        return solve_charges(
            **arguments(structure, positions=positions @ deformation, cell=structure.cell @ deformation)
        ).energy

    derivatives = torch.autograd.grad(energy(positions, strain), [positions, strain])
    step, scale = 1e-3, max(float(d.abs().max()) for d in derivatives)
    for which, derivative in enumerate(derivatives):
        for index in np.ndindex(*derivative.shape):
            values = []
            for factor in (-2, -1, 1, 2):
                moved = [positions.detach().clone(), strain.detach().clone()]
                moved[which][index] += factor * step
                values.append(float(energy(*moved)))
            difference = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * step)
            assert float(derivative[index]) == pytest.approx(difference, abs=1e-6 * scale)


def test_derivatives_of_first_and_second_order():
    structure = slab(2, total_charge=1.0)
    inputs = (structure.positions.clone().requires_grad_(), structure.cell.clone().requires_grad_())

    def results(positions, cell):
        found = solve_charges(**arguments(structure, positions=positions, cell=cell, pbc=[True, False, True]))
        return found.charges, found.energy

    assert torch.autograd.gradcheck(results, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(results, inputs, fast_mode=True)


def test_a_batch_of_all_boundaries():
    structures = [molecule(3), slab(4), crystal(2), slab(5, 1.0)]
    geometry = joined([geometry_of(structure) for structure in structures])
    matrix = coulomb_matrix(geometry, torch.cat([structure.width for structure in structures]), "gaussian")
    for found, structure in zip(matrix, structures, strict=True):
        size = len(structure.positions)
        assert torch.allclose(found[:size, :size], matrix_of(structure, "gaussian"), rtol=0, atol=1e-12)


def test_two_charged_sheets_are_a_capacitor():
    """Far apart compared with their grain, their field is that of uniform sheets: 4π k_e σ between them."""
    one = torch.tensor([1.0], dtype=torch.float64)
    cell = torch.tensor([[3.0, 0, 0], [0, 3.0, 0], [0, 0, 0]], dtype=torch.float64)

    def energy(distance):
        places = torch.tensor([[0.0, 0, 0], [0, 0, distance]], dtype=torch.float64)
        matrix = matrix_of(ChargedStructure(places, cell, one, one, 0.5 * one.repeat(2), 0.0))
        charges = torch.tensor([1.0, -1.0], dtype=torch.float64)
        return float(charges @ matrix @ charges / 2)

    expected = 2 * math.pi * COULOMB / 9.0 * 5.0  # energy per cell of 5 Å more of field
    assert energy(25.0) - energy(20.0) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("method", ["dense", "structure_factors"])
def test_far_from_the_origin(method):
    """Heights count from their mean: squares of large ones lose the digits that matter."""
    near = solve_charges(**arguments(NEUTRAL), solver=Solver(method))
    away = NEUTRAL.positions + 1e5 * torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    far = solve_charges(**arguments(NEUTRAL, positions=away), solver=Solver(method))
    assert float(far.energy) == pytest.approx(float(near.energy), abs=2e-8)
