"""Charge that flows along bonds between electrodes and walls: against direct minimisation, limits and slopes."""

import math
from dataclasses import replace

import pytest
import torch

from cace_qeq.conditions import Conditions
from cace_qeq.electrostatics import (
    Walls,
    circuit_of,
    constraints_of,
    coulomb_matrix,
    equilibrate,
    equilibrate_bonds,
    equilibrate_shells,
    imposed_potential,
)
from cace_qeq.electrostatics.bonds import bond_equations
from cace_qeq.impose import Boundary, impose
from charged_structures import bonds_of, crystal, evenly, geometry_of, molecule, slab, strained

JUNCTION = {"electrodes": [([0, 2], 0.7), ([4], -0.3)], "fragments": [([5], 0.2)]}  # with atoms 1 and 3 between


class Wired:
    """A structure of six atoms under conditions, whose other parameters may be varied."""

    def __init__(self, structure, total_charge, conditions=JUNCTION, softness=0.1):
        self.structure, self.geometry = structure, geometry_of(structure)
        self.bonds = bonds_of(len(structure.width), softness)
        self.total = torch.tensor([total_charge], dtype=torch.float64)
        boundary = Boundary(structure.positions, structure.cell, structure.pbc, total_charge, bonded=True)
        self.imposed = impose(Conditions(**conditions), boundary)

    def circuit(self):
        constraints = constraints_of(self.geometry, self.imposed, self.total)
        return circuit_of(self.geometry, evenly(self.bonds, 6), constraints, self.imposed.potential, self.imposed.field)

    def felt(self):
        potential = imposed_potential(self.geometry, self.structure.width, self.imposed)
        return replace(self.structure.parameters, electronegativity=self.structure.electronegativity + potential)

    def found(self):
        return equilibrate_bonds(self.geometry, self.felt(), self.circuit())


WIRED = {
    "molecule, any total": (molecule(6), math.nan),
    "molecule": (molecule(6), 0.5),
    "slab": (slab(6), -0.4),
    "crystal": (crystal(6), 0.0),
}
EACH_WIRED = pytest.mark.parametrize("case", WIRED, ids=str)


@EACH_WIRED
def test_electrodes_are_sources_at_the_ends_of_bonds(case):
    """Minimise over bond charges p and source charges r themselves: Ω = E(q) + Σ κ p² / 2 - Σ μ r, q = q⁰ + r + D p."""
    wired = Wired(*WIRED[case])
    structure, bonds = wired.structure, wired.circuit().bonds
    kept = bonds.softness > 0
    ends, n_bonds = (bonds.center[kept], bonds.neighbor[kept]), int(kept.sum())
    assert n_bonds == 7  # of 15: atom 5 is cut off, atoms 0, 2 and 4 have sources
    ways = torch.zeros(6, n_bonds + 3, dtype=torch.float64)  # along bonds, and from three sources
    ways[ends[0], torch.arange(n_bonds)] = 1.0
    ways[ends[1], torch.arange(n_bonds)] = -1.0
    ways[[0, 2, 4], [n_bonds, n_bonds + 1, n_bonds + 2]] = 1.0
    price = torch.tensor([0.0] * n_bonds + [-0.7, -0.7, 0.3], dtype=torch.float64)
    stiffness = torch.diag(torch.cat([1 / bonds.softness[kept], torch.zeros(3, dtype=torch.float64)]))
    start = torch.tensor([0, 0, 0, 0, 0, 0.2], dtype=torch.float64)
    matrix = coulomb_matrix(wired.geometry, structure.width)[0] + torch.diag(structure.hardness)
    slope = ways.T @ (structure.electronegativity + matrix @ start) + price
    rows, values = ways.sum(0, keepdim=True), wired.total - start.sum()
    if wired.total.isnan():
        rows, values = rows[:0], values[:0]
    curvature = ways.T @ matrix @ ways + stiffness
    border = torch.cat([rows, torch.zeros(len(rows), len(rows), dtype=torch.float64)], dim=1)
    system = torch.cat([torch.cat([curvature, rows.T], dim=1), border])
    flows = torch.linalg.solve(system, torch.cat([-slope, values]))[: n_bonds + 3]
    charges = start + ways @ flows
    on_bonds = flows @ stiffness @ flows / 2
    energy = charges @ (structure.electronegativity + matrix @ charges / 2) + on_bonds + price @ flows
    found, circuit = wired.found(), wired.circuit()
    assert torch.allclose(found.charges, charges, rtol=0, atol=1e-10)
    assert found.energy.item() == pytest.approx(energy.item(), abs=1e-9)
    cost = wired.felt().electronegativity + matrix @ charges
    assert circuit.energies(cost).sum().item() == pytest.approx(on_bonds.item(), abs=1e-9)
    level = wired.imposed.potential.nan_to_num()
    paid = (price @ flows + (level * charges).sum()).item()  # beyond that of electrodes' own charges
    assert circuit.paid(cost).sum().item() == pytest.approx(paid, abs=1e-9)


@EACH_WIRED
def test_soft_bonds_leave_atoms_at_the_potential_of_their_electrode(case):
    """As in plain equilibration where all of them belong to it."""
    one_wire = {"electrodes": [([0, 2], 0.7), ([4], -0.3)], "fragments": [([5], 0.2), ([1], 0.0), ([3], -0.1)]}
    metal = {"electrodes": [([0, 2, 1, 3], 0.7)], "fragments": [([4, 5], 0.2)]}
    structure, total = WIRED[case]
    for conditions, wider in [(one_wire, one_wire), ({**metal, "electrodes": [([0, 2], 0.7)]}, metal)]:
        if len(conditions["electrodes"]) == 1 and not math.isnan(total):
            continue  # one potential with a given total charge has no reference
        expected = Wired(structure, total, wider)
        constraints = constraints_of(expected.geometry, expected.imposed, expected.total)
        charges = equilibrate(expected.geometry, expected.felt(), constraints).charges
        found = Wired(structure, total, conditions, softness=1e5).found().charges
        assert torch.allclose(found, charges, rtol=0, atol=1e-4)


@EACH_WIRED
def test_multipliers_and_source_charges_are_slopes(case):
    wired = Wired(*WIRED[case])
    potentials = torch.tensor([0.7, -0.3], dtype=torch.float64, requires_grad=True)
    on_atoms = torch.stack([*potentials, potentials.new_tensor(torch.nan)])[[0, 2, 0, 2, 1, 2]]
    charge = wired.imposed.fragment_charge.requires_grad_()
    wired.imposed = replace(wired.imposed, potential=on_atoms, fragment_charge=charge)
    wired.total.requires_grad_()
    found = wired.found()
    variables = (potentials, charge, wired.total)
    slopes = torch.autograd.grad(found.energy.sum(), variables, allow_unused=True, materialize_grads=True)
    assert slopes[1].item() == pytest.approx(-found.multipliers[0, 1].item(), abs=1e-12)
    assert slopes[2].item() == pytest.approx(-found.multipliers[0, 0].item(), abs=1e-12)
    # sources give all charge but that of the fragment
    assert -slopes[0].sum().item() == pytest.approx(found.charges[:5].sum().item(), abs=1e-12)


def walls_across(wired):
    charges = wired.found().charges.detach()
    stiffness = torch.tensor([40.0, 20.0], dtype=torch.float64).repeat(len(charges), 1)
    return Walls(-0.4 * charges.abs() - 0.05, 0.7 * charges.abs() - 0.1, stiffness, torch.full_like(charges, 0.1))


def between_walls(wired, walls):
    circuit = wired.circuit()
    return equilibrate_shells(
        wired.geometry,
        lambda quadratic: equilibrate_bonds(wired.geometry, quadratic, circuit),
        wired.felt(),
        walls,
    )


@EACH_WIRED
def test_shells_close_while_charge_flows_along_bonds(case):
    wired = Wired(*WIRED[case])
    walls = walls_across(wired)
    found, felt = between_walls(wired, walls), wired.felt()
    charges, free = found.charges, wired.found().charges
    assert (charges - free).abs().max() > 0.01
    slope = felt.electronegativity + felt.hardness * charges + found.potential + walls.slope(charges)
    equations, tables = bond_equations(wired.geometry, wired.circuit()), (charges.view(1, -1), slope.view(1, -1))
    assert equations.residual(*tables, found.multipliers[:, 0]).abs().max() < 1e-9
    own = felt.electronegativity + (felt.hardness * charges + found.potential) / 2
    on_bonds = wired.circuit().energies(slope) + wired.circuit().paid(slope)
    energy = (charges * own + walls.energy(charges) + on_bonds).sum()
    assert found.energy.item() == pytest.approx(energy.item(), abs=1e-9)


SOLVERS = {"bonds": lambda wired, walls: wired.found(), "bonds and shells": between_walls}


@pytest.mark.parametrize("solve", SOLVERS.values(), ids=SOLVERS)
@EACH_WIRED
def test_derivatives_of_circuits_to_second_order(case, solve):
    wired, structure = Wired(*WIRED[case]), WIRED[case][0]
    walls, geometry, bonds, imposed = walls_across(wired), wired.geometry, wired.bonds, wired.imposed
    known = ~imposed.potential.isnan()

    def results(positions, strain, electronegativity, potential, softness, charge):
        wired.geometry = strained(replace(geometry, positions=positions), strain)
        wired.structure = replace(structure, electronegativity=electronegativity)
        wired.bonds = replace(bonds, softness=softness)
        at = torch.where(known, potential, torch.nan)
        wired.imposed = replace(imposed, potential=at, fragment_charge=charge)
        found = solve(wired, walls)
        return found.charges, found.energy, found.multipliers, found.potential

    inputs = (
        structure.positions,
        torch.zeros(3, 3, dtype=torch.float64),
        structure.electronegativity,
        imposed.potential.nan_to_num(),
        bonds.softness,
        imposed.fragment_charge,
    )
    inputs = tuple(value.clone().requires_grad_() for value in inputs)
    assert torch.autograd.gradcheck(results, inputs, fast_mode=True, eps=1e-5)
    assert torch.autograd.gradgradcheck(results, inputs, fast_mode=True, eps=1e-5)
