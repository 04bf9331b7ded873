"""What ASE sees of slabs, fragments, electrodes, fields and external charges."""

import numpy as np
import pytest
import torch
from ase.calculators.calculator import PropertyNotImplementedError
from ase.stress import full_3x3_to_voigt_6_stress, voigt_6_to_full_3x3_stress

import zoo
from cace_qeq import CACEQEqCalculator, Committee
from cace_qeq.config import ModelConfig
from cace_qeq.electrostatics import Solver
from cace_qeq.model import CACEQEq
from cace_qeq.prediction import predict
from cace_qeq.structures import collate, to_batch
from calculated import ethanol, salt
from small_models import cluster, crystal, untrained_model


def test_stress_of_a_slab_is_per_volume_of_a_cell_that_has_one():
    atoms = salt()
    atoms.pbc = [True, True, False]
    surface = atoms.calc.get_property("surface_stress", atoms)
    height = atoms.cell.lengths()[2]  # of a cube
    np.testing.assert_allclose(full_3x3_to_voigt_6_stress(surface) / height, atoms.get_stress(), rtol=1e-12)
    assert np.abs(surface).max() > 1e-3
    atoms.cell[2] = 0.0
    np.testing.assert_allclose(atoms.calc.get_property("surface_stress", atoms), surface, rtol=1e-12)
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_stress()


def test_conditions_are_read_and_their_changes_noticed():
    atoms = ethanol()
    free, energy = atoms.get_charges().copy(), atoms.get_potential_energy()
    atoms.info["electric_field"] = [0.0, 0.0, 0.2]
    tilted = atoms.get_charges().copy()
    assert np.abs(tilted - free).max() > 1e-3
    assert atoms.get_potential_energy() != energy
    atoms.info["electric_field"][2] = 0.0
    np.testing.assert_array_equal(atoms.get_charges(), free)
    atoms.arrays["charge_fragment"] = np.arange(9)
    atoms.info["fragment_charges"] = np.linspace(-0.4, 0.4, 9)
    np.testing.assert_allclose(atoms.get_charges(), np.linspace(-0.4, 0.4, 9), atol=1e-12)


def test_electrodes_decide_the_charge_unless_it_is_given():
    atoms = cluster()
    atoms.calc = CACEQEqCalculator(untrained_model(crystal()))
    atoms.arrays["electrode"] = np.zeros(len(atoms), dtype=int)
    atoms.info["electrode_potentials"] = [-4.0]
    grand, charge = atoms.get_potential_energy(), atoms.get_charges().sum()
    atoms.info["electrode_potentials"] = [-3.9]
    slope = (atoms.get_potential_energy() - grand) / 0.1
    assert slope == pytest.approx(-(atoms.get_charges().sum() + charge) / 2, abs=1e-9)  # quadratic
    atoms.info["charge"] = 0
    with pytest.raises(ValueError, match="has no reference"):
        atoms.get_potential_energy()


def test_labels_of_no_electrode_leave_the_charge_as_it_is():
    atoms, plain = ethanol(), ethanol()
    atoms.arrays["electrode"], atoms.info["electrode_potentials"] = np.full(len(atoms), -1), []
    assert atoms.get_potential_energy() == plain.get_potential_energy()


def test_fragments_that_hold_every_atom_tell_the_total_charge():
    atoms = ethanol()
    atoms.arrays["charge_fragment"], atoms.info["fragment_charges"] = np.zeros(len(atoms), dtype=int), [1.0]
    assert atoms.get_charges().sum() == pytest.approx(1.0, abs=1e-10)


def test_forces_on_external_charges_balance_those_on_atoms():
    atoms = ethanol()
    inner = atoms.get_forces().sum(axis=0)
    atoms.info["external_positions"] = [[4.0, 0.5, 1.0], [-3.0, 4.0, 0.0]]
    atoms.info["external_charges"] = [0.8, -0.6]
    found = atoms.get_forces().sum(axis=0) + atoms.calc.results["external_forces"].sum(axis=0)
    np.testing.assert_allclose(found, inner, atol=1e-10)
    assert np.abs(atoms.calc.results["external_forces"]).max() > 1e-3


@pytest.mark.parametrize(
    ("pbc", "strains"), [(True, range(6)), ([True, True, False], (0, 1, 5))], ids=["crystal", "slab"]
)
def test_stress_is_what_ase_finds_where_external_charges_stay_behind(pbc, strains):
    atoms = salt()
    atoms.pbc = pbc
    atoms.info.update(external_positions=[[1.3, 1.2, 1.5], [-1.3, 1.6, 4.4]], external_charges=[0.7, -0.4])
    atoms.calc = CACEQEqCalculator(untrained_model(crystal()), solver=Solver("dense"))
    stress, volume, step = atoms.get_stress(), atoms.get_volume(), 1e-4
    for component in strains:
        energies = []
        for size in (step, -step):
            strain = np.zeros(6)
            strain[component] = size if component < 3 else size / 2
            moved = atoms.copy()
            moved.calc = atoms.calc
            moved.set_cell(atoms.cell.array @ (np.eye(3) + voigt_6_to_full_3x3_stress(strain)), scale_atoms=True)
            energies.append(moved.get_potential_energy())
        assert (energies[0] - energies[1]) / (2 * step * volume) == pytest.approx(stress[component], abs=1e-7)


def test_stresses_of_members_spread_as_the_calculator_says():
    """Each where external charges stay behind."""
    atoms = salt()
    atoms.info.update(external_positions=[[1.3, 1.2, 1.5], [-1.3, 1.6, 4.4]], external_charges=[0.7, -0.4])
    committee, each = Committee([untrained_model(crystal(), seed) for seed in range(3)]), []
    for calculator in map(CACEQEqCalculator, committee.members):
        atoms.calc = calculator
        each.append(atoms.get_stress())
    atoms.calc = CACEQEqCalculator(committee)
    np.testing.assert_allclose(atoms.get_stress(), np.mean(each, axis=0), atol=1e-10)
    np.testing.assert_allclose(atoms.calc.results["stress_spread"], np.std(each, axis=0, ddof=1), atol=1e-9)


@pytest.mark.parametrize("changes", [{}, {"closed_shells": True}], ids=["bonds", "bonds and shells"])
def test_an_electrode_feeds_atoms_that_bonds_connect_with_it(changes):
    """The grand potential counts all that the source gives: -μ of it, wherever it ends."""
    atoms = cluster()
    atoms.calc = CACEQEqCalculator(untrained_model(crystal(), charge_flow="bonds", **changes))
    atoms.arrays["electrode"] = np.array([0, 0, 0, 0, -1, -1, -1, -1])
    step = 0.01

    def energy(potential):
        atoms.info["electrode_potentials"] = [potential]
        return atoms.get_potential_energy()

    slope = (8 * (energy(step - 4) - energy(-step - 4)) - energy(2 * step - 4) + energy(-2 * step - 4)) / (12 * step)
    energy(-4.0)
    assert slope == pytest.approx(-atoms.get_charges().sum(), abs=1e-7)
    assert np.abs(atoms.get_charges()[4:]).min() > 1e-3
    forces, there = atoms.get_forces(), atoms.positions.copy()
    atoms.positions[4, 0] += 1e-3
    ahead = atoms.get_potential_energy()
    atoms.positions[4, 0] -= 2e-3
    assert (atoms.get_potential_energy() - ahead) / 2e-3 == pytest.approx(forces[4, 0], abs=1e-5)
    atoms.positions = there
    assert atoms.get_potential_energies().sum() == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
    atoms.calc = CACEQEqCalculator(untrained_model(crystal()))
    with pytest.raises(ValueError, match="is in no electrode and in no fragment"):
        atoms.get_potential_energy()


@pytest.mark.parametrize("solver", [Solver("dense"), Solver("mesh", tolerance=1e-9)], ids=["dense", "mesh"])
def test_kept_lists_hold_the_pairs_of_external_charges_that_move(solver):
    """As lists made anew; far images of the charge come and go on its way through the crystal."""
    atoms = salt()
    atoms.calc = CACEQEqCalculator(untrained_model(crystal()), solver=solver)
    atoms.info.update(external_charges=[1.0], external_widths=[0.4])
    for step in range(4):
        atoms.info["external_positions"] = [[1.3 + 0.2 * step, 1.4 - 3.0 * (step > 2), 1.5]]
        kept = atoms.get_potential_energy(), atoms.get_forces().sum(axis=0) + atoms.calc.results["external_forces"][0]
        anew = CACEQEqCalculator(atoms.calc.model, solver=solver).get_potential_energy(atoms)
        assert kept[0] == pytest.approx(anew, abs=1e-7)
        np.testing.assert_allclose(kept[1], 0.0, atol=1e-8 if solver.method == "dense" else 1e-3)


@pytest.mark.parametrize("changes", [{}, {"charge_flow": "bonds", "closed_shells": True}], ids=["free", "bonds"])
def test_a_batch_of_structures_under_conditions_gives_what_they_give_alone(changes):
    model = CACEQEq(ModelConfig(species=zoo.SPECIES, cutoff=4.0, channels=2, layers=1, hidden=(4,), **changes))
    makers = (
        zoo.crystal_in_surroundings,
        zoo.ethanol_in_surroundings,
        zoo.hydronium_at_a_potential,
        zoo.crystal,
        zoo.slab_in_surroundings,
    )
    batches = [to_batch(atoms, model.geometry, atoms.info["total_charge"]) for atoms in (make() for make in makers)]
    together, alone = predict(model, collate(batches)), [predict(model, batch) for batch in batches]
    for name in ("energy", "forces", "stress", "charges", "external_forces"):
        expected = torch.cat([getattr(prediction, name) for prediction in alone])
        torch.testing.assert_close(getattr(together, name), expected, rtol=0, atol=1e-6, equal_nan=True)


def test_charges_in_a_wire_are_refused():
    atoms = salt()
    atoms.pbc = [True, False, False]
    with pytest.raises(ValueError, match="wires are not supported"):
        atoms.get_potential_energy()
    atoms.calc = CACEQEqCalculator(untrained_model(crystal(), energy="none"))
    atoms.get_forces()
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_stress()
