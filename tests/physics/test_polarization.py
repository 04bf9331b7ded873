"""Dipoles of cells whose charge flows along bonds, fields along periodic directions, and what follows from both."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import zoo
from cace_qeq.calculator import CACEQEqCalculator
from cace_qeq.electrostatics import Solver, Wiring, circuit_of, equilibrate_bonds, total_charge_alone
from cace_qeq.prediction import predict
from cace_qeq.response import predict_response
from cace_qeq.structures import to_batch
from charged_structures import bonds_of, geometry_of, molecule
from small_models import untrained_model

VARIANTS = {
    "equilibrated": {},
    "coulomb": {"energy": "coulomb", "charge_feedback": "readout"},
    "shells": {"closed_shells": True},
}
CELLS = {"crystal": zoo.crystal, "water box": zoo.water_box, "slab": zoo.slab}
STEP = 1e-3  # Å, V/Å, and of strain
FIELD = torch.tensor([[0.3, -0.2, 0.4]], dtype=torch.float64)  # V/Å


def prepared(name, solver=Solver("dense"), **changes):  # noqa: B008
    atoms = CELLS[name]()
    model = untrained_model(atoms, charge_flow="bonds", **changes)
    model.solver = solver
    return model, to_batch(atoms, model.geometry, 0.0)


def five_points(function):
    """Slope at zero."""
    return (8 * (function(STEP) - function(-STEP)) - function(2 * STEP) + function(-2 * STEP)) / (12 * STEP)


def in_field(batch, field):
    return replace(batch, imposed=replace(batch.imposed, field=field))


def test_a_field_along_bonds_is_that_of_its_potential():
    """Of an open structure, which has both."""
    structure, field = molecule(5), FIELD
    geometry, positions = geometry_of(structure), structure.positions
    bonds = bonds_of(5)
    bonds = replace(bonds, vector=positions[bonds.neighbor] - positions[bonds.center])
    nothing, evenly = torch.full((5,), torch.nan).double(), torch.zeros(5, 2, dtype=torch.float64)
    constraints = total_charge_alone(geometry, torch.zeros(1, dtype=torch.float64))
    driven = circuit_of(geometry, Wiring(bonds, evenly), constraints, nothing, field)
    still = circuit_of(geometry, Wiring(bonds, evenly), constraints, nothing, 0 * field)
    found = equilibrate_bonds(geometry, structure.parameters, driven)
    felt = structure.electronegativity - positions @ field[0]
    expected = equilibrate_bonds(geometry, replace(structure.parameters, electronegativity=felt), still)
    for name in ("charges", "energy"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), rtol=0, atol=1e-11)
    slope = structure.electronegativity + structure.hardness * found.charges + found.potential
    moments = driven.moments(geometry, slope)
    torch.testing.assert_close(moments[0], found.charges @ positions, rtol=0, atol=1e-11)
    parts = found.charges * (slope + structure.electronegativity) / 2 + driven.energies(slope) + driven.paid(slope)
    torch.testing.assert_close(parts.sum(), found.energy[0], rtol=0, atol=1e-11)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", CELLS)
def test_the_dipole_is_the_slope_in_the_field(name, variant):
    """Of the energy that is stationary; the polarizability is that of the dipole in any case."""
    model, batch = prepared(name, **VARIANTS[variant])
    found = predict_response(model, in_field(batch, FIELD))
    for axis in torch.eye(3, dtype=torch.float64):
        by_dipole = five_points(lambda step, axis=axis: predict(model, in_field(batch, FIELD + step * axis)).dipole[0])
        torch.testing.assert_close(found.polarizability[0] @ axis, by_dipole, rtol=1e-6, atol=1e-8)
        if model.config.energy == "equilibrated":
            slope = five_points(lambda step, axis=axis: predict(model, in_field(batch, FIELD + step * axis)).energy)
            torch.testing.assert_close(-slope, (found.dipole @ axis), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("method", ["dense", "mesh"])
@pytest.mark.parametrize("name", CELLS)
def test_born_charges_are_slopes_of_the_dipole_and_add_up_to_nothing(name, method):
    model, batch = prepared(name, Solver(method, tolerance=1e-10, mesh_accuracy=1e-8))
    found = predict_response(model, batch).born_charges
    for atom, axis in [(0, 0), (1, 2)]:

        def dipole(step, atom=atom, axis=axis):
            positions = batch.positions.clone()
            positions[atom, axis] += step
            return predict(model, replace(batch, positions=positions)).dipole[0]

        torch.testing.assert_close(found[atom, axis], five_points(dipole), rtol=1e-6, atol=1e-6)
    assert float(found.sum(0).abs().max()) < (1e-9 if method == "dense" else 1e-5)


@pytest.mark.parametrize("name", CELLS)
def test_forces_and_stress_in_a_field_are_derivatives(name):
    model, batch = prepared(name, energy="coulomb", closed_shells=True)
    batch = in_field(batch, FIELD)
    motion = torch.randn(batch.positions.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    strain = torch.tensor([[[0.3, 0.1, -0.2], [0.1, -0.1, 0.2], [-0.2, 0.2, 0.4]]]).double() * batch.pbc.all()
    found = predict(model, batch)

    def energy(step):
        return predict(model, replace(batch, positions=batch.positions + step * motion).strained(step * strain)).energy

    expected = -(found.forces * motion).sum()
    if batch.pbc.all():
        expected = expected + (found.stress * strain).sum() * batch.volumes[0]
    torch.testing.assert_close(five_points(energy)[0], expected, rtol=1e-7, atol=1e-8)


def test_the_dipole_of_a_cell_counts_it_once_wherever_its_atoms_are_written():
    atoms = zoo.crystal()
    atoms.calc = CACEQEqCalculator(untrained_model(atoms, charge_flow="bonds"))
    dipole = atoms.get_dipole_moment()
    assert np.abs(dipole).max() > 1e-3
    twice, moved = atoms * (2, 1, 1), atoms.copy()
    moved.positions += atoms.cell.array[np.arange(len(atoms)) % 3]
    for other, factor in ((twice, 2), (moved, 1)):
        other.calc = atoms.calc
        np.testing.assert_allclose(other.get_dipole_moment(), factor * dipole, rtol=0, atol=1e-9)


def test_the_dipole_of_a_slab_has_the_height_of_its_charges():
    model, batch = prepared("slab")
    normal = torch.linalg.cross(*batch.cells[0, :2])
    normal = normal / normal.norm()
    found = predict(model, batch)
    torch.testing.assert_close(found.dipole[0] @ normal, found.charges @ batch.positions @ normal, rtol=0, atol=1e-10)


def test_cells_that_are_charged_have_no_dipole_and_no_field():
    model, batch = prepared("crystal")
    assert predict(model, replace(batch, total_charge=batch.total_charge + 1)).dipole.isnan().all()
    atoms = zoo.crystal()
    atoms.info |= {"total_charge": 1, "electric_field": [0.1, 0.0, 0.0]}
    atoms.calc = CACEQEqCalculator(model)
    with pytest.raises(ValueError, match="its energy has no origin"):
        atoms.get_potential_energy()


@pytest.mark.parametrize(
    "conditions",
    [{"charge_fragment": [0, 0, 1, 1, -1, -1], "fragment_charges": [1.0, -1.0]}, {"electrode": [0, -1, -1, 1, -1, -1]}],
    ids=["fragments", "electrodes"],
)
def test_charge_that_does_not_come_along_bonds_feels_no_periodic_field_and_is_refused(conditions):
    atoms = zoo.crystal()
    for name, value in conditions.items():
        (atoms.info if name == "fragment_charges" else atoms.arrays)[name] = np.array(value)
    if "electrode" in conditions:
        atoms.info["electrode_potentials"] = [0.1, -0.1]
    atoms.calc = CACEQEqCalculator(untrained_model(zoo.crystal(), charge_flow="bonds"))
    atoms.get_potential_energy()
    atoms.info["electric_field"] = [0.1, 0.0, 0.0]
    with pytest.raises(ValueError, match="not on that of charged fragments or electrodes"):
        atoms.get_potential_energy()


def test_the_polarizability_of_a_charged_slab_is_symmetric():
    model, batch = prepared("slab")
    found = predict_response(model, replace(batch, total_charge=batch.total_charge + 1)).polarizability[0]
    torch.testing.assert_close(found, found.T, rtol=0, atol=1e-10)


def test_charged_fragments_of_a_neutral_cell_leave_no_dipole():
    atoms = zoo.crystal()
    model = untrained_model(atoms, charge_flow="bonds")
    atoms.arrays["charge_fragment"] = np.array([0] + (len(atoms) - 1) * [-1])
    for charge in (0.0, 0.5):
        atoms.info["fragment_charges"] = [charge]
        found = predict_response(model, to_batch(atoms, model.geometry, 0.0)).dipole
        assert bool(found.isfinite().all()) == (charge == 0)
