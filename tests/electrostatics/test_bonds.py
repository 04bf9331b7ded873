"""Charge that flows along bonds: against a minimum over that charge itself, and the limits of soft and broken bonds."""

from dataclasses import replace

import pytest
import torch

from cace_qeq.conditions import Conditions, collate_imposed
from cace_qeq.electrostatics import (
    Bonds,
    ChargeParameters,
    Wiring,
    circuit_of,
    constraints_of,
    coulomb_matrix,
    equilibrate_bonds,
    total_charge_alone,
)
from cace_qeq.impose import Boundary, impose
from charged_structures import bonds_of, crystal, equilibrium_of, evenly, geometry_of, joined, molecule, slab, strained

NO_FIELD = torch.zeros(1, 3, dtype=torch.float64)
ZOO = {"ion": molecule(5, 1.0), "slab": slab(5), "crystal": crystal(6), "charged crystal": crystal(5, -1.0)}


@pytest.fixture(params=ZOO, ids=str)
def structure(request):
    return ZOO[request.param]


def solved(structure, bonds, background="point"):
    geometry = geometry_of(structure)
    total = torch.tensor([structure.total_charge], dtype=torch.float64)
    return equilibrate_bonds(geometry, structure.parameters, alone(geometry, total, bonds), background)


def alone(geometry, total_charge, bonds, preference=None):
    """Bonds under the total charge and nothing else."""
    nothing = torch.full((len(geometry.positions),), torch.nan, dtype=torch.float64)
    wiring = evenly(bonds, len(nothing)) if preference is None else Wiring(bonds, preference)
    return circuit_of(geometry, wiring, total_charge_alone(geometry, total_charge), nothing, NO_FIELD)


def test_charges_are_those_of_the_charges_on_bonds(structure):
    """Minimise over p itself: (Dᵀ K D + κ) p = -Dᵀ (χ + K q⁰), q = q⁰ + D p."""
    size = len(structure.width)
    bonds = bonds_of(size)
    matrix = coulomb_matrix(geometry_of(structure), structure.width)[0] + torch.diag(structure.hardness)
    incidence = torch.zeros(size, len(bonds.center), dtype=torch.float64)
    incidence[bonds.center, torch.arange(len(bonds.center))] = 1.0
    incidence[bonds.neighbor, torch.arange(len(bonds.center))] = -1.0
    start = torch.full((size,), structure.total_charge / size, dtype=torch.float64)
    stiffness = torch.diag(1 / bonds.softness)
    flows = torch.linalg.solve(
        incidence.T @ matrix @ incidence + stiffness,
        -incidence.T @ (structure.electronegativity + matrix @ start),
    )
    charges = start + incidence @ flows
    energy = charges @ (structure.electronegativity + matrix @ charges / 2) + flows @ stiffness @ flows / 2
    found = solved(structure, bonds)
    assert torch.allclose(found.charges, charges, rtol=0, atol=1e-11)
    assert found.energy.item() == pytest.approx(energy.item(), abs=1e-10)
    cost = structure.electronegativity + matrix @ charges
    circuit = alone(geometry_of(structure), torch.tensor([structure.total_charge]).double(), bonds)
    assert circuit.energies(cost).sum().item() == pytest.approx((flows @ stiffness @ flows).item() / 2, abs=1e-11)
    assert torch.allclose(found.potential, (matrix - torch.diag(structure.hardness)) @ charges, rtol=0, atol=1e-11)


def test_charges_that_are_not_found_are_an_error_that_names_the_structure():
    one, ends = molecule(3), torch.tensor([0, 3, 6])
    geometry = joined([geometry_of(one)] * 3)
    parameters = ChargeParameters(*(value.repeat(3) for value in vars(one.parameters).values()))
    lost = replace(parameters, hardness=parameters.hardness.index_fill(0, torch.tensor([4]), torch.nan))
    bonds = Bonds(ends, ends + 1, torch.ones(3, dtype=torch.float64), torch.zeros(3, 3, dtype=torch.float64))
    neutral, nothing = torch.zeros(3, dtype=torch.float64), torch.full((9,), torch.nan, dtype=torch.float64)
    constraints, no_field = total_charge_alone(geometry, neutral), NO_FIELD.expand(3, 3)
    circuit = circuit_of(geometry, evenly(bonds, 9), constraints, nothing, no_field)
    assert equilibrate_bonds(geometry, parameters, circuit).charges.isfinite().all()
    with pytest.raises(ValueError, match="structure 1 of the batch: the charge equilibration matrix has no inverse"):
        equilibrate_bonds(geometry, lost, circuit)


def test_soft_bonds_are_plain_equilibration(structure):
    """The rest falls like 1/s, and rounding grows like s."""
    expected = equilibrium_of(structure)
    errors = []
    for softness in (1e3, 1e4):
        found = solved(structure, bonds_of(len(structure.width), softness))
        errors.append(float((found.charges - expected.charges).abs().max()))
    assert errors[1] < 1e-4
    assert errors[1] == pytest.approx(errors[0] / 10, rel=0.1)


def test_without_bonds_charges_stay_where_they_start(structure):
    found = solved(structure, bonds_of(len(structure.width), softness=0.0))
    share = structure.total_charge / len(structure.width)
    assert torch.allclose(found.charges, torch.full_like(structure.width, share), rtol=0, atol=1e-14)


@pytest.mark.parametrize(("total", "kind"), [(1.0, 0), (-2.0, 1)])
def test_excess_charge_begins_on_the_atoms_that_prefer_it(total, kind):
    preference = torch.tensor([[0.0, 3.0], [1.0, 0.0], [-1.0, 800.0]], dtype=torch.float64)
    geometry = geometry_of(molecule(3, total))
    circuit = alone(geometry, torch.tensor([total], dtype=torch.float64), bonds_of(3, softness=0.0), preference)
    charges = equilibrate_bonds(geometry, molecule(3).parameters, circuit).charges
    assert torch.allclose(charges, total * preference[:, kind].softmax(0), rtol=0, atol=1e-14)


@pytest.mark.parametrize(("n_atoms", "charges"), [(7, [0.1, 0.2]), (6, [0.1, 0.2]), (6, [1.0])])
def test_what_fragments_leave_of_their_sum_is_nothing_and_not_rounding(n_atoms, charges):
    """The slope in a charge that is zero is that of additional electrons."""
    structure, total = molecule(n_atoms), torch.tensor([sum(charges)], dtype=torch.float64, requires_grad=True)
    geometry, preference = geometry_of(structure), torch.rand(n_atoms, 2, dtype=torch.float64)
    boundary = Boundary(structure.positions, structure.cell, structure.pbc, sum(charges))
    imposed = impose(Conditions(fragments=[([i], q) for i, q in enumerate(charges)]), boundary)
    wiring = Wiring(bonds_of(n_atoms, softness=0.0), preference)
    circuit = circuit_of(geometry, wiring, constraints_of(geometry, imposed, total), imposed.potential, NO_FIELD)
    found = equilibrate_bonds(geometry, structure.parameters, circuit).charges
    (slope,) = torch.autograd.grad(found[-1], total)
    assert slope.item() == pytest.approx(preference[len(charges) :, 1].softmax(0)[-1].item())


def test_every_fragment_has_preferences_of_its_own():
    structure, preference = molecule(5), torch.rand(5, 2, dtype=torch.float64)
    geometry, total = geometry_of(structure), torch.tensor([0.5], dtype=torch.float64)
    boundary = Boundary(structure.positions, structure.cell, structure.pbc, 0.5)
    imposed = impose(Conditions(fragments=[([0, 3], -0.5)]), boundary)
    wiring = Wiring(bonds_of(5, softness=0.0), preference)
    circuit = circuit_of(geometry, wiring, constraints_of(geometry, imposed, total), imposed.potential, NO_FIELD)
    charges = equilibrate_bonds(geometry, structure.parameters, circuit).charges
    assert torch.allclose(charges[[0, 3]], -0.5 * preference[[0, 3], 1].softmax(0), rtol=0, atol=1e-14)
    assert torch.allclose(charges[[1, 2, 4]], preference[[1, 2, 4], 0].softmax(0), rtol=0, atol=1e-14)


def test_a_broken_bond_leaves_whole_charges():
    """Two ions that only know themselves far apart: plain equilibration leaves them charged for ever."""
    structure = replace(molecule(2), positions=torch.tensor([[0.0, 0, 0], [500.0, 0, 0]], dtype=torch.float64))
    assert solved(structure, bonds_of(2, softness=0.0)).charges.abs().max() < 1e-14
    assert equilibrium_of(structure).charges.abs().max() > 0.01


def test_the_multiplier_is_minus_the_slope_in_total_charge(structure):
    geometry, bonds = geometry_of(structure), bonds_of(len(structure.width))
    total = torch.tensor([structure.total_charge], dtype=torch.float64, requires_grad=True)
    found = equilibrate_bonds(geometry, structure.parameters, alone(geometry, total, bonds))
    (slope,) = torch.autograd.grad(found.energy.sum(), total)
    assert slope.item() == pytest.approx(-found.multipliers.item(), abs=1e-12)


@pytest.mark.parametrize("make", [molecule, slab, crystal])
def test_derivatives_of_first_and_second_order(make):
    structure = make(3, total_charge=1.0)
    geometry, bonds = geometry_of(structure), bonds_of(3)

    def results(positions, strain, electronegativity, hardness, width, total_charge, softness, preference):
        moved = strained(replace(geometry, positions=positions), strain)
        parameters = ChargeParameters(electronegativity, hardness, width)
        circuit = alone(moved, total_charge, replace(bonds, softness=softness), preference)
        found = equilibrate_bonds(moved, parameters, circuit, "gaussian")
        return tuple(vars(found).values())

    inputs = (
        structure.positions,
        torch.zeros(3, 3, dtype=torch.float64),
        *vars(structure.parameters).values(),
        torch.ones(1, dtype=torch.float64),
        bonds.softness,
        torch.linspace(-1, 1, 6, dtype=torch.float64).view(3, 2),
    )
    inputs = tuple(value.clone().requires_grad_() for value in inputs)
    assert torch.autograd.gradcheck(results, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(results, inputs, fast_mode=True)


def test_polarizability_of_a_chain_grows_with_its_length_and_not_with_its_cube():
    def polarizability(n_atoms, found_by):
        positions = torch.zeros(n_atoms, 3, dtype=torch.float64)
        positions[:, 0] = 1.3 * torch.arange(n_atoms)
        ones = torch.ones(n_atoms, dtype=torch.float64)
        chain = replace(
            molecule(n_atoms=2),
            positions=positions,
            electronegativity=torch.zeros_like(ones).requires_grad_(),
            hardness=8.0 * ones,
            width=0.7 * ones,
        )
        first = torch.arange(n_atoms - 1)
        softness, vectors = torch.full((n_atoms - 1,), 0.05, dtype=torch.float64), positions[1:] - positions[:-1]
        charges = found_by(chain, Bonds(first, first + 1, softness, vectors))
        (slopes,) = torch.autograd.grad((charges * positions[:, 0]).sum(), chain.electronegativity)
        return -float(slopes @ positions[:, 0])

    def growth(found_by):
        """Exponent between 40 and 80 atoms."""
        return torch.tensor(polarizability(80, found_by) / polarizability(40, found_by)).log2().item()

    assert growth(lambda chain, bonds: solved(chain, bonds).charges) == pytest.approx(1.0, abs=0.05)
    assert growth(lambda chain, bonds: equilibrium_of(chain).charges) > 2.5


def test_fragments_cut_the_bonds_between_them():
    structures = [molecule(4, 0.5), crystal(3)]
    geometry = joined([geometry_of(one) for one in structures])
    wanted = [Conditions(fragments=[([0, 3], -0.5)]), Conditions()]
    imposed = collate_imposed(
        [
            impose(one, Boundary(s.positions, s.cell, s.pbc, s.total_charge))
            for one, s in zip(wanted, structures, strict=True)
        ]
    )
    total = torch.tensor([0.5, 0.0], dtype=torch.float64)
    constraints = constraints_of(geometry, imposed, total)
    inside, outside = bonds_of(4), bonds_of(3)
    both = Bonds(*(torch.cat(pair) for pair in zip(vars(inside).values(), vars(outside).values(), strict=True)))
    later = 4 * (torch.arange(9) >= 6)
    both = replace(both, center=both.center + later, neighbor=both.neighbor + later)
    circuit = circuit_of(geometry, evenly(both, 7), constraints, imposed.potential, imposed.field)
    assert (circuit.bonds.softness > 0).tolist() == [False, False, True, True, False, False, True, True, True]
    parameters = ChargeParameters(
        *(torch.cat([getattr(s, name) for s in structures]) for name in ("electronegativity", "hardness", "width"))
    )
    charges = equilibrate_bonds(geometry, parameters, circuit).charges
    assert charges[[0, 3]].sum().item() == pytest.approx(-0.5, abs=1e-13)
    assert charges[[1, 2]].sum().item() == pytest.approx(1.0, abs=1e-13)
    assert torch.allclose(charges[4:], solved(structures[1], bonds_of(3)).charges, rtol=0, atol=1e-13)
