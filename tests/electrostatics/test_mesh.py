import math
from dataclasses import replace

import pytest
import torch

from cace_qeq.electrostatics.coulomb_forms import structure_factors
from cace_qeq.electrostatics.mesh import mesh_form
from cace_qeq.lattice import reciprocal_triplets
from cace_qeq.meshing import mesh_error, plan_mesh
from cace_qeq.units import COULOMB
from charged_structures import crystal, geometry_of

CRYSTAL = crystal(12)
DENSITY = 12 / float(torch.linalg.det(CRYSTAL.cell))
SPLIT = torch.tensor(0.9, dtype=torch.float64)


def random_charges(seed: int = 0) -> torch.Tensor:
    return torch.randn(12, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def waves_one_by_one(positions, cell):
    """The same sum over reciprocal vectors, converged to rounding."""
    triplets = torch.from_numpy(reciprocal_triplets(CRYSTAL.cell.numpy(), 8.5 / float(SPLIT)))
    geometry = replace(geometry_of(CRYSTAL), positions=positions, cells=cell.unsqueeze(0), split=SPLIT.view(1))
    return structure_factors(replace(geometry, triplets=triplets.unsqueeze(0)))


def form(positions, cell, shape=(16, 15, 18), order=8):
    return mesh_form(positions, cell, SPLIT, shape, order)


def test_the_product_is_that_of_the_waves_one_by_one():
    expected = waves_one_by_one(CRYSTAL.positions, CRYSTAL.cell).product(random_charges())
    found = form(CRYSTAL.positions, CRYSTAL.cell, (54, 54, 60)).product(random_charges())
    assert torch.allclose(found, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("order", [4, 5, 6, 7, 8])
@pytest.mark.parametrize("size", [12, 18, 27])
def test_the_error_is_the_one_that_the_plan_expects(order, size):
    """Root mean square over atoms, of one sample of charges without order."""
    charges = random_charges()
    expected = waves_one_by_one(CRYSTAL.positions, CRYSTAL.cell).product(charges)
    found = form(CRYSTAL.positions, CRYSTAL.cell, (size, size, size), order).product(charges)
    error = float((found - expected).square().mean().sqrt() / charges.square().mean().sqrt() / COULOMB)
    spacing = float(CRYSTAL.cell.norm(dim=1).max()) / size
    assert error < 2.5 * mesh_error(float(SPLIT), spacing, order, DENSITY)
    assert error > mesh_error(float(SPLIT), spacing, order, DENSITY) / 10  # and the estimate is no guess


@pytest.mark.parametrize("accuracy", [1e-4, 1e-6, 1e-8])
def test_a_plan_keeps_its_accuracy(accuracy):
    plan = plan_mesh(CRYSTAL.cell.numpy(), 12, 0.3, accuracy)
    split = torch.tensor(plan.split, dtype=torch.float64)
    charges = random_charges()
    finer = tuple(3 * n for n in plan.mesh[:3])
    found, expected = (
        mesh_form(CRYSTAL.positions, CRYSTAL.cell, split, shape, plan.mesh[3]).product(charges)
        for shape in (plan.mesh[:3], finer)
    )
    error = float((found - expected).square().mean().sqrt() / charges.square().mean().sqrt() / COULOMB)
    assert error < 2.5 * accuracy


def test_the_product_is_symmetric():
    mesh, left, right = form(CRYSTAL.positions, CRYSTAL.cell), random_charges(1), random_charges(2)
    assert torch.dot(left, mesh.product(right)).item() == pytest.approx(
        torch.dot(right, mesh.product(left)).item(), rel=1e-12
    )


def test_a_mesh_smaller_than_its_splines_still_adds_up():
    """Splines wrap around a thin cell and meet themselves: a uniform density has no waves left."""
    mesh = mesh_form(torch.rand(1, 3).double(), torch.eye(3).double(), SPLIT, (2, 4, 2), 6)
    blocks = mesh._product.blocks
    assert blocks.sum().item() == pytest.approx(1.0, abs=1e-14)
    assert math.isfinite(float(mesh.product(torch.ones(1, dtype=torch.float64))))


def test_gradients_are_derivatives_of_the_product():
    left, right = random_charges(1), random_charges(2)

    def value(positions, cell):
        return torch.dot(left, form(positions, cell).product(right))

    positions, cell = (value.clone().requires_grad_() for value in (CRYSTAL.positions, CRYSTAL.cell))
    mesh = form(positions, cell)
    slopes = torch.autograd.grad(mesh.parameters, [positions, cell], mesh.gradients(left, right))
    for index, slope in enumerate(slopes):
        direction = torch.randn(slope.shape, generator=torch.Generator().manual_seed(index), dtype=torch.float64)
        moves = [torch.zeros_like(CRYSTAL.positions), torch.zeros_like(CRYSTAL.cell)]

        def moved(step, index=index, direction=direction, moves=moves):
            at = [CRYSTAL.positions + moves[0], CRYSTAL.cell + moves[1]]
            at[index] = at[index] + step * direction
            return value(*at)

        numerical = (8 * (moved(1e-3) - moved(-1e-3)) - (moved(2e-3) - moved(-2e-3))) / 12e-3
        assert (slope * direction).sum().item() == pytest.approx(numerical.item(), rel=1e-8)


def test_gradients_are_themselves_differentiable():
    def slopes(positions, cell, left, right):
        mesh = form(positions, cell, (8, 9, 8), 5)
        both = torch.autograd.grad(mesh.parameters, [positions, cell], mesh.gradients(left, right), create_graph=True)
        return (*both, *mesh.gradients(left, left))

    inputs = (CRYSTAL.positions[:3], CRYSTAL.cell, random_charges(1)[:3], random_charges(2)[:3])
    inputs = tuple(value.clone().requires_grad_() for value in inputs)
    assert torch.autograd.gradcheck(slopes, inputs, fast_mode=True)


@pytest.mark.parametrize("shape", [(8, 9, 8), (8, 6, 7)], ids=["even", "odd"])
def test_the_energy_of_given_charges(shape):
    def energy(positions, cell, charges):
        return form(positions, cell, shape, 5).energy(charges)

    inputs = (CRYSTAL.positions[:3], CRYSTAL.cell, random_charges()[:3])
    product = form(*inputs[:2], shape, 5).product(inputs[2])
    assert float(energy(*inputs)) == pytest.approx(float(torch.dot(inputs[2], product)) / 2, rel=1e-12)
    inputs = tuple(value.clone().requires_grad_() for value in inputs)
    potential = torch.autograd.grad(energy(*inputs), inputs[2])[0]
    assert torch.allclose(potential, product, rtol=0, atol=1e-12)
    assert torch.autograd.gradcheck(energy, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(energy, inputs, fast_mode=True)
