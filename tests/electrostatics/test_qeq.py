from dataclasses import replace

import pytest
import torch

from cace_qeq.electrostatics import ChargeParameters, coulomb_matrix
from charged_structures import (
    ChargedStructure,
    at_total_charge,
    crystal,
    equilibrium_of,
    geometry_of,
    joined,
    molecule,
    scattered,
    slab,
    strained,
    variables_of,
    with_random_parameters,
)

BACKGROUNDS = ["point", "gaussian"]
ZOO = {
    "dimer": molecule(2),
    "cation": molecule(5, total_charge=1.0),
    "slab": slab(4),
    "charged slab": slab(5, total_charge=-1.0),
    "crystal": crystal(6),
    "charged crystal": crystal(5, total_charge=-1.0),
    "one atom in a cell": crystal(1, total_charge=1.0),
}
CRYSTAL = crystal(5, total_charge=1.0)


@pytest.fixture(params=ZOO, ids=str)
def structure(request) -> ChargedStructure:
    return ZOO[request.param]


def assert_equal_results(found, expected, tolerance=1e-11):
    for name in vars(expected):
        assert torch.allclose(getattr(found, name), getattr(expected, name), rtol=0, atol=tolerance), name


def derivatives(structure, split_factor=1.0, background="point"):
    """Charges, energy, forces and stress times volume."""
    geometry = geometry_of(structure, split_factor)
    geometry = replace(geometry, positions=geometry.positions.clone().requires_grad_())
    strain = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    total_charge = torch.tensor([structure.total_charge], dtype=torch.float64)
    result = at_total_charge(strained(geometry, strain), structure.parameters, total_charge, background)
    forces, virial = torch.autograd.grad(result.energy.sum(), [geometry.positions, strain])
    return result.charges.detach(), result.energy.detach(), -forces, virial


def test_charges_solve_the_bordered_system(structure):
    result = equilibrium_of(structure)
    coulomb = coulomb_matrix(geometry_of(structure), structure.width)[0]
    potential = coulomb @ result.charges
    residual = structure.electronegativity + potential + structure.hardness * result.charges + result.multipliers[0, 0]
    energy = structure.electronegativity @ result.charges + (structure.hardness * result.charges.square()).sum() / 2
    assert residual.abs().max() < 1e-12
    assert result.charges.sum().item() == pytest.approx(structure.total_charge, abs=1e-13)
    assert torch.allclose(result.potential, potential, atol=1e-12)
    assert result.energy.item() == pytest.approx((energy + result.charges @ potential / 2).item(), abs=1e-12)


@pytest.mark.parametrize("background", BACKGROUNDS)
@pytest.mark.parametrize("factor", [0.75, 1.5])
def test_nothing_depends_on_the_ewald_split(factor, background):
    for found, expected in zip(
        derivatives(CRYSTAL, factor, background), derivatives(CRYSTAL, 1.0, background), strict=True
    ):
        assert torch.allclose(found, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_forces_and_stress_are_finite_differences_of_the_energy(structure, background):
    _, _, forces, virial = derivatives(structure, background=background)
    generator = torch.Generator().manual_seed(3)
    motion = torch.randn(structure.positions.shape, generator=generator, dtype=torch.float64)
    strain = torch.randn(3, 3, generator=generator, dtype=torch.float64) * structure.periodic
    geometry, step = geometry_of(structure), 1e-3
    total_charge = torch.tensor([structure.total_charge], dtype=torch.float64)

    def energy(amount):
        moved = replace(geometry, positions=geometry.positions + amount * motion)
        moved = strained(moved, amount * strain)
        return float(at_total_charge(moved, structure.parameters, total_charge, background).energy)

    ahead, behind = (energy(step) - energy(-step)) / 2, (energy(2 * step) - energy(-2 * step)) / 4
    numerical = (4 * ahead - behind) / (3 * step)  # error of fourth order
    analytical = float((virial * strain).sum() - (forces * motion).sum())
    assert analytical == pytest.approx(numerical, rel=1e-6, abs=1e-7)


def test_forces_add_up_to_nothing(structure):
    assert derivatives(structure)[2].sum(0).abs().max() < 1e-10


def test_multiplier_is_minus_the_slope_in_total_charge(structure):
    geometry = geometry_of(structure)
    total_charge = torch.tensor([structure.total_charge], dtype=torch.float64, requires_grad=True)
    result = at_total_charge(geometry, structure.parameters, total_charge)
    (slope,) = torch.autograd.grad(result.energy.sum(), total_charge)
    more, less = (at_total_charge(geometry, structure.parameters, total_charge + d).energy for d in (0.5, -0.5))
    assert slope.item() == pytest.approx(-result.multipliers.item(), abs=1e-13)
    assert (more - less).item() == pytest.approx(slope.item(), abs=1e-11)  # the energy is quadratic in Q


@pytest.mark.parametrize("split", [1.0, 1.3])
def test_batch_equals_single_structures(split):
    structures = list(ZOO.values())
    batch = joined([geometry_of(structure, split) for structure in structures])
    parameters = ChargeParameters(
        *(torch.cat([getattr(s, name) for s in structures]) for name in vars(structures[0].parameters))
    )
    total_charge = torch.tensor([s.total_charge for s in structures], dtype=torch.float64)
    result = at_total_charge(batch, parameters, total_charge)
    alone = [equilibrium_of(s, split) for s in structures]
    for name in vars(result):
        expected = torch.cat([getattr(single, name) for single in alone])
        assert torch.allclose(getattr(result, name), expected, rtol=0, atol=1e-12), name


def test_translation_and_choice_of_images_do_not_matter(structure):
    moved = structure.positions + torch.tensor([0.7, -1.9, 2.3], dtype=torch.float64)
    shifts = torch.arange(3 * len(moved), dtype=torch.float64).view(-1, 3) % 4 - 1
    moved = moved + shifts @ structure.cell  # other images of the same atoms
    assert_equal_results(equilibrium_of(replace(structure, positions=moved)), equilibrium_of(structure))


@pytest.mark.parametrize("handedness", [1, -1])
def test_rotation_and_reflection_do_not_matter(structure, handedness):
    generator = torch.Generator().manual_seed(1)
    rotation, _ = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))
    rotation = rotation * torch.linalg.det(rotation) * handedness
    turned = replace(structure, positions=structure.positions @ rotation, cell=structure.cell @ rotation)
    assert_equal_results(equilibrium_of(turned), equilibrium_of(structure))


@pytest.mark.parametrize(
    "vectors",
    [
        [[0, 1, 0], [0, 0, 1], [1, 0, 0]],
        [[0, 1, 0], [1, 0, 0], [0, 0, 1]],
        [[-1, 0, 0], [0, 1, 0], [0, 0, 1]],
        [[1, 0, 0], [2, 1, 0], [-1, 1, 1]],
    ],
    ids=["permuted", "swapped, left-handed", "inverted, left-handed", "skewed"],
)
def test_the_choice_of_cell_vectors_does_not_matter(vectors):
    other = replace(CRYSTAL, cell=torch.tensor(vectors, dtype=torch.float64) @ CRYSTAL.cell)
    assert_equal_results(equilibrium_of(other), equilibrium_of(CRYSTAL))


def test_the_order_of_atoms_does_not_matter(structure):
    order = torch.arange(len(structure.positions)).flip(0)
    names = ("positions", "electronegativity", "hardness", "width")
    flipped = equilibrium_of(replace(structure, **{name: getattr(structure, name)[order] for name in names}))
    expected = equilibrium_of(structure)
    assert torch.allclose(flipped.charges[order], expected.charges, rtol=0, atol=1e-12)
    assert torch.allclose(flipped.energy, expected.energy, rtol=0, atol=1e-12)


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_a_supercell_holds_the_same_charges(background):
    small = crystal(3, total_charge=0.5)
    repeats = torch.tensor([2, 1, 3])
    points = torch.cartesian_prod(*[torch.arange(n, dtype=torch.float64) for n in repeats.tolist()])
    large = ChargedStructure(
        (small.positions + (points @ small.cell).unsqueeze(1)).flatten(0, 1),
        small.cell * repeats.unsqueeze(1),
        *(value.repeat(6) for value in vars(small.parameters).values()),
        total_charge=3.0,
    )
    found, expected = equilibrium_of(large, 1.0, background), equilibrium_of(small, 1.0, background)
    assert torch.allclose(found.charges, expected.charges.repeat(6), rtol=0, atol=1e-10)
    assert found.energy.item() == pytest.approx(6 * expected.energy.item(), abs=1e-9)
    assert found.multipliers.item() == pytest.approx(expected.multipliers.item(), abs=1e-10)


@pytest.mark.parametrize("background", BACKGROUNDS)
@pytest.mark.parametrize("make", [molecule, crystal])
def test_derivatives_of_first_and_second_order(make, background):
    structure = make(3, total_charge=1.0)
    geometry = geometry_of(structure)

    def results(positions, strain, electronegativity, hardness, width, total_charge):
        moved = strained(replace(geometry, positions=positions), strain)
        parameters = ChargeParameters(electronegativity, hardness, width)
        return tuple(vars(at_total_charge(moved, parameters, total_charge, background)).values())

    inputs = variables_of(structure)
    assert torch.autograd.gradcheck(results, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(results, inputs, fast_mode=True)


def test_forces_of_the_stationary_energy_need_no_response():
    """The first derivative is the one at fixed charges; q.K q/2 + χ.q of constants shows it."""
    structure = molecule(4)
    _, _, forces, _ = derivatives(structure)
    charges = equilibrium_of(structure).charges
    positions = structure.positions.clone().requires_grad_()
    matrix = coulomb_matrix(replace(geometry_of(structure), positions=positions), structure.width)[0]
    (gradient,) = torch.autograd.grad(charges @ matrix @ charges / 2, positions)
    assert torch.allclose(forces, -gradient, rtol=0, atol=1e-13)


def test_two_atoms_in_closed_form():
    """q₁ = (χ₂ - χ₁ + Q (K₂₂ - K₁₂)) / (K₁₁ + K₂₂ - 2 K₁₂)"""
    structure = molecule(2, total_charge=0.7)
    matrix = coulomb_matrix(geometry_of(structure), structure.width)[0] + torch.diag(structure.hardness)
    (k11, k12), (_, k22) = matrix.tolist()
    chi1, chi2 = structure.electronegativity.tolist()
    expected = (chi2 - chi1 + 0.7 * (k22 - k12)) / (k11 + k22 - 2 * k12)
    charges = equilibrium_of(structure).charges
    assert charges.tolist() == pytest.approx([expected, 0.7 - expected], abs=1e-14)


def test_hard_atoms_keep_their_charge():
    positions, cell = scattered(4, 5.0 * torch.eye(3, dtype=torch.float64), 0), torch.zeros(3, 3)
    hard = with_random_parameters(positions, cell.double(), 0.0, 0)
    hard = replace(hard, hardness=1e9 * torch.ones(4, dtype=torch.float64))
    assert equilibrium_of(hard).charges.abs().max() < 1e-8


def test_charges_without_a_minimum_are_explained():
    structure = replace(molecule(2), hardness=torch.full((2,), -100.0, dtype=torch.float64))
    with pytest.raises(ValueError, match="not positive definite"):
        equilibrium_of(structure)
