"""Charge equilibration with walls at the ends of valence shells."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor

from cace_qeq.electrostatics import (
    ChargeParameters,
    Equilibrium,
    Walls,
    coulomb_matrix,
    equilibrate_shells,
    shells,
)
from charged_structures import ChargedStructure, at_total_charge, crystal, equilibrium_of, geometry_of, joined, molecule

ZOO = {
    "molecule": molecule(5, total_charge=1.0),
    "crystal": crystal(6),
    "charged crystal": crystal(5, total_charge=-1.0),
    "one atom": molecule(1, total_charge=1.0),
}


@pytest.fixture(params=ZOO, ids=str)
def structure(request) -> ChargedStructure:
    return ZOO[request.param]


def walls_inside(structure: ChargedStructure, stiffness: float = 40.0) -> Walls:
    """Walls that some of the charges of linear equilibration lie beyond, of different strength above and below."""
    charges = equilibrium_of(structure).charges.detach()
    strength = torch.tensor([stiffness, stiffness / 2], dtype=torch.float64).repeat(len(charges), 1)
    return Walls(-0.4 * charges.abs() - 0.05, 0.7 * charges.abs() - 0.1, strength, torch.full_like(charges, 0.05))


def solver_of(structure: ChargedStructure) -> Callable[[ChargeParameters], Equilibrium]:
    geometry, total = geometry_of(structure), torch.tensor([structure.total_charge], dtype=torch.float64)
    return lambda parameters: at_total_charge(geometry, parameters, total)


def solution(structure: ChargedStructure, walls: Walls) -> Equilibrium:
    return equilibrate_shells(geometry_of(structure), solver_of(structure), structure.parameters, walls)


def total_energy(structure: ChargedStructure, walls: Walls, charges: Tensor) -> Tensor:
    coulomb = coulomb_matrix(geometry_of(structure), structure.width)[0]
    hardened = coulomb @ charges + structure.hardness * charges
    return charges @ (structure.electronegativity + hardened / 2) + walls.energy(charges).sum()


def concatenated(records: list) -> list[Tensor]:
    """Each field of the records, one after the other."""
    return [torch.cat(column) for column in zip(*(vars(record).values() for record in records), strict=True)]


def test_derivatives_of_a_wall_belong_together():
    walls = walls_inside(ZOO["molecule"])
    charges = torch.linspace(-1, 1, 5, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(walls.energy(charges).sum(), charges, create_graph=True)
    torch.testing.assert_close(slope, walls.slope(charges), rtol=1e-13, atol=1e-13)
    (curvature,) = torch.autograd.grad(slope.sum(), charges)
    torch.testing.assert_close(curvature, walls.curvature(charges), rtol=1e-12, atol=1e-12)
    assert (curvature > 0).all()


def test_electronegativities_are_equalised_with_what_the_walls_add(structure):
    walls = walls_inside(structure)
    result = solution(structure, walls)
    own = structure.electronegativity + structure.hardness * result.charges + walls.slope(result.charges)
    residual = own + result.potential + result.multipliers[0, 0]
    assert residual.abs().max() < 1e-9  # eV/e; the last Newton step is converged to rounding
    assert result.charges.sum().item() == pytest.approx(structure.total_charge, abs=1e-12)


def test_the_energy_is_that_of_the_charges(structure):
    walls = walls_inside(structure)
    result = solution(structure, walls)
    assert result.energy.item() == pytest.approx(total_energy(structure, walls, result.charges).item(), abs=1e-10)


@pytest.mark.parametrize("name", ["molecule", "crystal"])
def test_a_general_minimiser_finds_the_same_charges(name):
    structure = ZOO[name]
    walls = walls_inside(structure)
    start = equilibrium_of(structure).charges.numpy()

    def energy(charges: np.ndarray) -> tuple[float, np.ndarray]:
        variable = torch.tensor(charges, requires_grad=True)
        value = total_energy(structure, walls, variable)
        value.backward()
        return value.item(), variable.grad.numpy()

    sums = {"type": "eq", "fun": lambda q: q.sum() - structure.total_charge, "jac": np.ones_like}
    options = {"ftol": 1e-15, "maxiter": 999}
    found = minimize(energy, start, jac=True, method="SLSQP", constraints=[sums], options=options)
    # SLSQP stops on the energy, which is flat to 1e-15 within 1e-6 e
    np.testing.assert_allclose(solution(structure, walls).charges.numpy(), found.x, atol=2e-6)


def test_soft_walls_leave_linear_equilibration(structure):
    walls = replace(walls_inside(structure), stiffness=torch.zeros(len(structure.width), 2, dtype=torch.float64))
    found, linear = solution(structure, walls), equilibrium_of(structure)
    torch.testing.assert_close(found.charges, linear.charges, rtol=0, atol=1e-12)
    torch.testing.assert_close(found.energy, linear.energy, rtol=0, atol=1e-11)


def test_hard_walls_hold_charges_back():
    structure = molecule(5)
    free = equilibrium_of(structure).charges.abs().max()
    bound = free / 2
    hard = torch.full((5, 2), 1e6, dtype=torch.float64)
    walls = Walls(-bound.repeat(5), bound.repeat(5), hard, torch.full((5,), 1e-4, dtype=torch.float64))
    charges = solution(structure, walls).charges
    assert charges.abs().max() < bound + 1e-3  # a wall is 1e-4 e soft
    assert free > bound + 1e-2


def test_batches_converge_one_by_one():
    structures = [molecule(3, 1.0), crystal(6), molecule(5)]
    geometry = joined([geometry_of(one) for one in structures])
    totals = torch.tensor([one.total_charge for one in structures], dtype=torch.float64)
    walls = [walls_inside(one) for one in structures]
    together = equilibrate_shells(
        geometry,
        lambda parameters: at_total_charge(geometry, parameters, totals),
        ChargeParameters(*concatenated([one.parameters for one in structures])),
        Walls(*concatenated(walls)),
    )
    alone = [solution(one, wall) for one, wall in zip(structures, walls, strict=True)]
    torch.testing.assert_close(together.charges, torch.cat([one.charges for one in alone]), rtol=0, atol=1e-11)
    torch.testing.assert_close(together.energy, torch.cat([one.energy for one in alone]), rtol=0, atol=1e-10)


@pytest.mark.parametrize("structure", [molecule(3, 1.0), crystal(3, -1.0)], ids=["molecule", "charged crystal"])
def test_derivatives_to_second_order(structure):
    geometry, solve, walls = geometry_of(structure), solver_of(structure), walls_inside(structure)

    def results(electronegativity: Tensor, hardness: Tensor, lower: Tensor, stiffness: Tensor) -> tuple[Tensor, ...]:
        parameters = ChargeParameters(electronegativity, hardness, structure.width)
        found = equilibrate_shells(geometry, solve, parameters, replace(walls, lower=lower, stiffness=stiffness))
        return found.charges, found.energy, found.potential

    inputs = [structure.electronegativity, structure.hardness, walls.lower, walls.stiffness]
    inputs = [tensor.clone().requires_grad_() for tensor in inputs]
    assert torch.autograd.gradcheck(results, inputs, eps=1e-5, atol=1e-6)
    assert torch.autograd.gradgradcheck(results, inputs, eps=1e-5, atol=1e-5)


def test_charges_that_do_not_converge_are_refused(monkeypatch):
    monkeypatch.setattr(shells, "LARGEST_ITERATION", 1)
    with pytest.raises(RuntimeError, match=r"did not converge in 1 Newton steps.*closed_shells"):
        solution(ZOO["molecule"], walls_inside(ZOO["molecule"]))
