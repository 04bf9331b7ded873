import math

import pytest
import torch

from cace_qeq.electrostatics import ChargeParameters, coulomb_matrix
from cace_qeq.electrostatics.coulomb_forms import charge_form
from cace_qeq.electrostatics.kernels import self_interaction
from cace_qeq.units import COULOMB
from charged_structures import ChargedStructure, crystal, geometry_of, joined, molecule
from iterative_structures import meshed

FCC = [[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]
BCC = [[-0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.5, 0.5, -0.5]]
SIMPLE = [[1.0, 0, 0], [0, 1, 0], [0, 0, 1]]
CUBE = 3.0  # Å, edge of the cubic cell


def point_charges(cell, positions):
    """Gaussians so narrow that no two overlap, at fractions of the cubic edge."""
    places = CUBE * torch.tensor(positions, dtype=torch.float64)
    ones = torch.ones(len(places), dtype=torch.float64)
    lattice = CUBE * torch.tensor(cell, dtype=torch.float64)
    return ChargedStructure(places, lattice, ones, ones, 0.05 * ones, 0.0)


def lattice_energy_on_a_mesh(structure, charges, accuracy):
    charges = torch.tensor(charges, dtype=torch.float64)
    bare = ChargeParameters(charges, -self_interaction(structure.width), structure.width)
    return float(charges @ charge_form(meshed(structure, accuracy), bare, "point").product(charges)) / 2


def lattice_energy(structure, charges, background="point"):
    """Coulomb energy of the cell without the charges' own."""
    charges = torch.tensor(charges, dtype=torch.float64)
    matrix = coulomb_matrix(geometry_of(structure), structure.width, background)[0]
    return float(charges @ matrix @ charges - (self_interaction(structure.width) * charges**2).sum()) / 2


@pytest.mark.parametrize("background", ["point", "gaussian"])
@pytest.mark.parametrize("structure", [molecule(), crystal()], ids=["open", "periodic"])
def test_matrix_is_symmetric_and_positive_definite(structure, background):
    matrix = coulomb_matrix(geometry_of(structure), structure.width, background)[0]
    assert torch.allclose(matrix, matrix.T, atol=1e-13)
    # a neutralised charge only: with a background, a uniform charge may have negative energy
    vectors = torch.eye(len(matrix), dtype=torch.float64) - 1 / len(matrix)
    assert torch.linalg.eigvalsh(vectors @ matrix @ vectors)[1:].min() > 0


def test_padding_is_zero_and_structures_do_not_meet():
    structures = [molecule(3), crystal(6), molecule(5), crystal(2)]
    geometry = joined([geometry_of(structure) for structure in structures])
    matrix = coulomb_matrix(geometry, torch.cat([structure.width for structure in structures]))
    assert matrix.shape == (4, 6, 6)
    for found, structure in zip(matrix, structures, strict=True):
        size = len(structure.positions)
        alone = coulomb_matrix(geometry_of(structure), structure.width)[0]
        assert torch.allclose(found[:size, :size], alone, atol=1e-13)
        assert not found[size:].any()
        assert not found[:, size:].any()


def test_derivatives_in_a_mixed_padded_batch():
    structures = [molecule(2), crystal(3), molecule(3)]
    geometry = joined([geometry_of(structure) for structure in structures])
    width = torch.cat([structure.width for structure in structures])
    weights = torch.randn(3, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def weighed(positions, cells, width):
        fields = {**vars(geometry), "positions": positions, "cells": cells}
        moved = type(geometry)(**{name: fields[name] for name in geometry.__dataclass_fields__})
        return (coulomb_matrix(moved, width) * weights).sum()

    inputs = tuple(value.clone().requires_grad_() for value in (geometry.positions, geometry.cells, width))
    assert torch.autograd.gradcheck(weighed, inputs, rtol=1e-5)
    assert torch.autograd.gradgradcheck(weighed, inputs, rtol=1e-5)


def test_an_atom_at_the_origin_beside_padding_has_finite_derivatives():
    """Padding sits at the origin too; its distance must never be divided by."""
    geometry = joined([geometry_of(molecule(4)), geometry_of(molecule(2))])
    geometry.positions[4] = 0.0
    positions = geometry.positions.requires_grad_()
    matrix = coulomb_matrix(geometry, torch.ones(6, dtype=torch.float64))
    (first,) = torch.autograd.grad(matrix.square().sum(), positions, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), positions)
    assert torch.isfinite(first).all()
    assert torch.isfinite(second).all()


def test_open_matrix_is_the_written_formula():
    structure = molecule(4)
    matrix = coulomb_matrix(geometry_of(structure), structure.width)[0]
    for a in range(4):
        for b in range(4):
            g = math.hypot(structure.width[a], structure.width[b])
            r = float((structure.positions[a] - structure.positions[b]).norm())
            expected = COULOMB * (math.erf(r / (math.sqrt(2) * g)) / r if a != b else math.sqrt(2 / math.pi) / g)
            assert matrix[a, b].item() == pytest.approx(expected, rel=1e-13)


def test_periodic_matrix_is_the_sum_over_reciprocal_space_alone():
    """Wide Gaussians need no real-space sum: A_ab = 4πk_e/V Σ_k exp(-γ²k²/2) cos(k.r_ab) / k²."""
    structure = crystal(3)
    grid = torch.cartesian_prod(*[torch.arange(-16, 17, dtype=torch.float64)] * 3)
    vectors = 2 * math.pi * grid[grid.any(1)] @ torch.linalg.inv(structure.cell).T
    squared_k, volume = vectors.square().sum(1), torch.linalg.det(structure.cell).abs()
    displacement = structure.positions.unsqueeze(0) - structure.positions.unsqueeze(1)
    squared_width = structure.width.square().unsqueeze(0) + structure.width.square().unsqueeze(1)
    waves = (displacement @ vectors.T).cos() * (-squared_width.unsqueeze(-1) * squared_k / 2).exp() / squared_k
    expected = 4 * math.pi * COULOMB / volume * waves.sum(-1)
    found = coulomb_matrix(geometry_of(structure), structure.width, "gaussian")[0]
    assert torch.allclose(found, expected, atol=1e-10)  # k up to 16 cells at width 0.4 Å


@pytest.mark.parametrize(
    ("cell", "positions", "distance", "madelung"),
    [
        (SIMPLE, [[0, 0, 0], [0.5, 0.5, 0.5]], math.sqrt(3) / 2, 1.76267477),
        (FCC, [[0, 0, 0], [0.5, 0, 0]], 0.5, 1.7475645946),
        (FCC, [[0, 0, 0], [0.25, 0.25, 0.25]], math.sqrt(3) / 4, 1.6380550533),
    ],
    ids=["CsCl", "NaCl", "zincblende"],
)
def test_madelung_constants(cell, positions, distance, madelung):
    structure, charges = point_charges(cell, positions), [1.0, -1.0]
    energies = [
        lattice_energy(structure, charges),
        lattice_energy_on_a_mesh(structure, charges, 1e-6),
        lattice_energy_on_a_mesh(structure, charges, 1e-10),
    ]
    # the digits of the table, or of the mesh, whose error at mesh points is no mean
    for energy, digits in zip(energies, (1e-8, 1e-5, 1e-8), strict=True):
        assert -energy * distance * CUBE / COULOMB == pytest.approx(madelung, abs=digits)


@pytest.mark.parametrize(
    ("cell", "density", "constant", "digits"),
    [(SIMPLE, 1, 1.7601188, 1e-7), (BCC, 2, 2 * 0.895929255682, 1e-11), (FCC, 4, 2 * 0.895873615195, 1e-11)],
    ids=["sc", "bcc", "fcc"],
)
def test_wigner_crystals_in_a_neutralising_background(cell, density, constant, digits):
    """bcc and fcc attributed to Baiko et al., doi 10.1103/PhysRevE.64.057402 (not checked against the paper).

    Older tables end in ..860 and ..753.
    """
    energy = lattice_energy(point_charges(cell, [[0, 0, 0]]), [1.0])
    radius = CUBE * (3 / (4 * math.pi * density)) ** (1 / 3)
    assert -2 * energy * radius / COULOMB == pytest.approx(constant, abs=digits)


def test_a_large_cell_is_open_space():
    """What remains of a neutral molecule's images falls off with the volume: 2π/3V times dipole squared."""
    alone = molecule(4)
    charges = torch.tensor([1.0, -0.4, -0.8, 0.2], dtype=torch.float64)
    boxed = ChargedStructure(
        alone.positions, 60.0 * torch.eye(3, dtype=torch.float64), *vars(alone.parameters).values(), 0.0
    )
    energies = [
        float(charges @ coulomb_matrix(geometry_of(structure), structure.width, "gaussian")[0] @ charges / 2)
        for structure in (alone, boxed)
    ]
    images = -2 * math.pi / 3 * COULOMB / 60.0**3 * float((charges @ alone.positions).square().sum())
    assert energies[1] - energies[0] == pytest.approx(images, rel=0.02)  # higher multipoles


def test_unknown_background_is_refused():
    structure = crystal(2)
    with pytest.raises(ValueError, match="background is 'jellium', expected one of"):
        coulomb_matrix(geometry_of(structure), structure.width, "jellium")
