"""Charges under a total charge alone, by operations that can be recorded, against padded matrices."""

from dataclasses import replace

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.functional import pad

from cace_qeq.electrostatics import (
    ChargeGeometry,
    ChargeParameters,
    Wiring,
    circuit_of,
    equilibrate_bonds,
    equilibrate_crystal,
    equilibrate_molecule,
    equilibrate_molecule_along_bonds,
    total_charge_alone,
)
from cace_qeq.electrostatics.qeq import equilibrate
from charged_structures import bonds_of, crystal, geometry_of, molecule, strained
from iterative_structures import task_of

ZOO = {
    "molecule": molecule(5),
    "anion": molecule(4, total_charge=-1.0),
    "crystal": crystal(6),
    "charged crystal": crystal(5, total_charge=1.0),
    "one atom in a cell": crystal(1, total_charge=1.0),
}


def filled_up(geometry: ChargeGeometry) -> ChargeGeometry:
    """With three pairs a thousand cells away, and two waves that are none."""
    return replace(
        geometry,
        center=pad(geometry.center, (0, 3)),
        neighbor=pad(geometry.neighbor, (0, 3)),
        shift=pad(geometry.shift, (0, 3), value=1000.0),
        triplets=pad(geometry.triplets, (0, 0, 0, 2)),
    )


def alone(geometry: ChargeGeometry, parameters: ChargeParameters, total_charge, background):
    if not geometry.periodic[0]:
        return equilibrate_molecule(geometry.positions, parameters, total_charge)
    return equilibrate_crystal(filled_up(geometry), parameters, total_charge, background)


@pytest.mark.parametrize("background", ["point", "gaussian"])
@pytest.mark.parametrize("name", ZOO)
def test_charges_energies_and_derivatives_are_those_of_padded_matrices(name, background):
    """Derivatives of a function of charges and energies by positions, strain and all parameters."""
    task = task_of(ZOO[name], "dense")
    total_charge, outcomes = task.constraints.values[:, 0], []
    for plainly in (True, False):
        positions = task.geometry.positions.clone().requires_grad_()
        strain = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
        values = [value.clone().requires_grad_() for value in vars(ZOO[name].parameters).values()]
        geometry = strained(replace(task.geometry, positions=positions), strain)
        if plainly:
            found = equilibrate(geometry, ChargeParameters(*values), task.constraints, background)
        else:
            found, failed = alone(geometry, ChargeParameters(*values), total_charge, background)
            assert int(failed) == 0
        loss = found.energy.sum() + found.charges.pow(3).sum() + 0.3 * torch.dot(found.charges, found.potential)
        gradients = torch.autograd.grad(loss, [positions, strain, *values])
        outcomes.append([*vars(found).values(), *gradients])
    for one, other in zip(*outcomes, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("total_charge", [-1.0, 0.0, 1.0])
def test_charges_along_bonds_are_those_of_padded_matrices(total_charge):
    """Derivatives by positions, parameters, softness and preferences."""
    structure, charge = molecule(5), torch.tensor([total_charge], dtype=torch.float64)
    geometry, nothing = geometry_of(structure), torch.full((5,), torch.nan, dtype=torch.float64)
    constraints, no_field = total_charge_alone(geometry, charge), torch.zeros(1, 3, dtype=torch.float64)
    outcomes = []
    for plainly in (True, False):
        bonds = bonds_of(5)
        leaves = [torch.linspace(-1, 1, 10, dtype=torch.float64).view(5, 2), structure.positions, bonds.softness]
        leaves = [value.clone().requires_grad_() for value in (*leaves, *vars(structure.parameters).values())]
        preference, positions, softness, *values = leaves
        wiring, parameters = Wiring(replace(bonds, softness=softness), preference), ChargeParameters(*values)
        if plainly:
            circuit = circuit_of(geometry, wiring, constraints, nothing, no_field)
            found = equilibrate_bonds(replace(geometry, positions=positions), parameters, circuit)
        else:
            found, failed = equilibrate_molecule_along_bonds(positions, parameters, charge, wiring)
            assert int(failed) == 0
        loss = found.energy.sum() + found.charges.pow(3).sum() + 0.3 * torch.dot(found.charges, found.potential)
        gradients = torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)
        outcomes.append([found.charges, found.energy, found.potential, *gradients])
    for one, other in zip(*outcomes, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_a_matrix_that_is_not_positive_definite_is_told():
    task = task_of(crystal(4), "dense")
    parameters = replace(task.parameters, hardness=task.parameters.hardness - 100.0)
    _, failed = equilibrate_crystal(task.geometry, parameters, task.constraints.values[:, 0])
    assert int(failed) != 0


@pytest.mark.parametrize("structure", [molecule(4), crystal(4)], ids=["molecule", "crystal"])
def test_what_is_recorded_holds_elsewhere(structure):
    task, periodic = task_of(structure, "dense"), structure.periodic

    def forces(positions):
        place = positions.detach().requires_grad_()
        geometry = replace(task.geometry, positions=place)
        if periodic:
            found, _ = equilibrate_crystal(geometry, task.parameters, task.constraints.values[:, 0])
        else:
            found, _ = equilibrate_molecule(place, task.parameters, task.constraints.values[:, 0])
        return torch.autograd.grad(found.energy.sum() + torch.dot(found.charges, found.potential), place)[0]

    recorded = make_fx(forces)(task.geometry.positions)
    elsewhere = task.geometry.positions + 0.1 * torch.linspace(-1, 1, 12, dtype=torch.float64).view(4, 3)
    torch.testing.assert_close(recorded(elsewhere), forces(elsewhere), rtol=1e-12, atol=1e-12)
    assert not torch.allclose(forces(elsewhere), forces(task.geometry.positions), rtol=0.02, atol=0.0)
