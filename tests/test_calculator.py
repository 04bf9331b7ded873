"""What ASE sees of a model: properties, when they are computed anew, and what is refused."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress

import zoo
from cace_qeq.calculator import CACEQEqCalculator
from cace_qeq.checkpoint import save_model
from cace_qeq.prediction import predict
from cace_qeq.structures import to_batch
from calculated import ethanol, salt
from small_models import cluster, crystal, trained_model, untrained_model

ENERGIES = ("equilibrated", "coulomb", "none")
STEP = 1e-4  # Å and strain, of central differences: error of their own near 1e-7 of the forces


@pytest.mark.parametrize("energy", ENERGIES)
def test_forces_are_minus_the_slope_of_the_energy(energy):
    atoms = ethanol(untrained_model(zoo.ethanol(), energy=energy))
    forces = atoms.get_forces()
    numerical = calculate_numerical_forces(atoms, eps=STEP)
    assert np.abs(forces).max() > 0.01
    np.testing.assert_allclose(forces, numerical, rtol=1e-5, atol=1e-6 * np.abs(forces).max())


@pytest.mark.parametrize("energy", ENERGIES)
def test_stress_is_the_slope_of_the_energy_in_the_strain(energy):
    atoms = salt(untrained_model(crystal(), energy=energy))
    stress = atoms.get_stress()
    numerical = calculate_numerical_stress(atoms, eps=STEP, force_consistent=True)
    assert np.abs(stress).max() > 1e-4
    np.testing.assert_allclose(stress, numerical, rtol=1e-5, atol=1e-6 * np.abs(stress).max())


@pytest.mark.parametrize("energy", ENERGIES)
@pytest.mark.parametrize("structure", [ethanol, salt], ids=lambda make: make.__name__)
def test_parts_of_the_energy_add_up(structure, energy):
    reference = zoo.ethanol() if structure is ethanol else crystal()
    atoms = structure(untrained_model(reference, energy=energy))
    total = atoms.get_potential_energy()
    results = atoms.calc.results
    assert atoms.get_potential_energies().sum() == pytest.approx(total, abs=1e-10)
    assert results["short_range_energy"] + results["electrostatic_energy"] == pytest.approx(total, abs=1e-10)
    assert atoms.get_potential_energy(force_consistent=True) == total


def test_properties_are_exported_as_those_of_other_calculators():
    """ASE has no name for the parts of the energy, and raises KeyError for them."""
    atoms = ethanol(untrained_model(zoo.ethanol()))
    found = atoms.get_properties(["energy", "forces", "charges"])
    assert found["energy"] == atoms.get_potential_energy()
    np.testing.assert_array_equal(found["forces"], atoms.get_forces())
    np.testing.assert_array_equal(found["charges"], atoms.get_charges())


@pytest.mark.parametrize("charge", [-1.0, 0.0, 2.0])
def test_charges_add_up_to_the_total_charge(charge):
    atoms = salt()
    atoms.info["charge"] = charge
    assert atoms.get_charges().sum() == pytest.approx(charge, abs=1e-10)


def test_results_are_those_of_predict():
    atoms, model = cluster(), trained_model()
    atoms.calc = CACEQEqCalculator(model)
    prediction = predict(model, to_batch(atoms, model.geometry, 0.0))
    np.testing.assert_allclose(atoms.get_forces(), prediction.forces, atol=1e-12)
    np.testing.assert_allclose(atoms.get_charges(), prediction.charges, atol=1e-12)
    np.testing.assert_allclose(atoms.get_dipole_moment(), prediction.dipole[0], atol=1e-12)
    electronegativities = atoms.calc.results["electronegativities"]
    np.testing.assert_allclose(electronegativities, prediction.electronegativities, atol=1e-12)


def test_kept_neighbour_lists_change_nothing():
    """Atoms wander through many lists; each answer equals that of a calculator that has just been made."""
    atoms, rng = salt(skin=0.4), np.random.default_rng(0)
    for _ in range(12):
        atoms.positions += rng.normal(scale=0.05, size=atoms.positions.shape)
        fresh = salt(skin=0.0)
        fresh.positions = atoms.positions
        assert atoms.get_potential_energy() == pytest.approx(fresh.get_potential_energy(), abs=1e-9)
        np.testing.assert_allclose(atoms.get_forces(), fresh.get_forces(), atol=1e-9)
        np.testing.assert_allclose(atoms.get_charges(), fresh.get_charges(), atol=1e-9)
        np.testing.assert_allclose(atoms.get_stress(), fresh.get_stress(), atol=1e-10)


def test_kept_lists_of_a_breathing_cell_change_nothing():
    """The Ewald sums keep their integers while the cell is stretched by up to 2 %; 2e-10 eV were measured."""
    atoms, rng = salt(skin=0.6), np.random.default_rng(0)
    for _ in range(12):
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + rng.normal(scale=0.005, size=(3, 3))), scale_atoms=True)
        fresh = salt(skin=0.0)
        fresh.set_cell(atoms.cell)
        fresh.positions = atoms.positions
        assert atoms.get_potential_energy() == pytest.approx(fresh.get_potential_energy(), abs=2e-9)
        np.testing.assert_allclose(atoms.get_forces(), fresh.get_forces(), atol=1e-9)
        np.testing.assert_allclose(atoms.get_stress(), fresh.get_stress(), atol=1e-9)


def test_neighbour_lists_are_kept(monkeypatch):
    import cace_qeq.structures.convert.tensors as tensors

    searches = []
    search, name = tensors.neighbor_pairs_and_distances, "neighbor_pairs_and_distances"
    monkeypatch.setattr(tensors, name, lambda *args: searches.append(0) or search(*args))
    atoms = salt(skin=1.0)
    for _ in range(5):
        atoms.positions[0, 0] += 0.05
        atoms.get_forces()
    first = len(searches)
    atoms.positions[0, 0] += 0.6
    atoms.get_forces()
    assert len(searches) == 2 * first


def test_a_new_total_charge_alone_is_a_new_calculation():
    atoms = salt()
    atoms.info["charge"] = 0
    neutral = atoms.get_potential_energy()
    atoms.info["charge"] = 1
    charged = atoms.get_potential_energy()
    assert charged != neutral
    del atoms.info["charge"]
    assert atoms.get_potential_energy() == pytest.approx(neutral, abs=1e-12)
    atoms.info["total_charge"] = 1
    assert atoms.get_charges().sum() == pytest.approx(1, abs=1e-10)
    assert atoms.get_potential_energy() == pytest.approx(charged, abs=1e-12)


def test_nothing_new_is_no_new_calculation():
    atoms = salt()
    atoms.get_forces()
    results = atoms.calc.results
    atoms.info["remark"] = "irrelevant"
    atoms.set_initial_charges([1.0] * len(atoms))
    atoms.get_potential_energy(), atoms.get_stress(), atoms.get_charges()
    assert atoms.calc.results is results


@pytest.mark.parametrize(
    ("energy", "structure", "name"),
    [
        ("equilibrated", ethanol, "stress"),
        ("equilibrated", salt, "dipole"),
        ("none", ethanol, "charges"),
        ("none", ethanol, "dipole"),
        ("equilibrated", salt, "magmoms"),
    ],
)
def test_what_a_structure_does_not_have(energy, structure, name):
    reference = zoo.ethanol() if structure is ethanol else crystal()
    atoms = structure(untrained_model(reference, energy=energy))
    with pytest.raises(PropertyNotImplementedError):
        atoms.calc.get_property(name, atoms)
    atoms.get_potential_energy()


def test_the_models_own_properties_have_names():
    assert "charges" not in ethanol(untrained_model(zoo.ethanol(), energy="none")).calc.implemented_properties
    atoms = ethanol()
    assert atoms.calc.get_property("electronegativities", atoms).shape == (9,)
    assert atoms.calc.get_property("electrostatic_energy", atoms) < 0


def test_a_path_is_as_good_as_a_model(tmp_path):
    save_model(trained_model(), tmp_path / "model.safetensors")
    from_file = CACEQEqCalculator(tmp_path / "model.safetensors")
    assert salt(from_file.model).get_potential_energy() == salt().get_potential_energy()
    assert from_file.model.dtype == torch.float64


def test_precision_is_a_copys():
    model = trained_model()
    single = salt(model, dtype=torch.float32)
    double = salt(model)
    assert model.dtype == torch.float64
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert single.calc.model.dtype == torch.float32
    difference = abs(single.get_potential_energy() - double.get_potential_energy())
    assert 0 < difference < 1e-4  # eight atoms with seven digits
    assert single.get_forces().dtype == np.float64


def test_later_changes_of_the_model_do_not_reach_the_calculator():
    model = untrained_model(zoo.ethanol())
    atoms = ethanol(model)
    before = atoms.get_potential_energy()
    model.set_energy_scale(5.0)
    atoms.calc.reset()
    assert atoms.get_potential_energy() == before


def test_nothing_global_is_touched():
    state, dtype = torch.random.get_rng_state(), torch.get_default_dtype()
    ethanol(dtype=torch.float64).get_forces()
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.get_default_dtype() is dtype


@pytest.mark.parametrize("layers", [1, 2])
def test_an_atom_by_itself(layers):
    atoms = Atoms("O")
    atoms.calc = CACEQEqCalculator(untrained_model(zoo.ethanol(), layers=layers), skin=0.0)
    atoms.info["charge"] = -1
    assert np.isfinite(atoms.get_potential_energy())
    np.testing.assert_allclose(atoms.get_forces(), 0, atol=1e-12)
    assert atoms.get_charges() == pytest.approx([-1])


def charged_ethanol(**options) -> Atoms:
    model = untrained_model(zoo.ethanol(), **options)
    model.provenance["total_charges"] = [-1.0, 0.0]
    return ethanol(model)


def test_a_total_charge_changed_in_place_is_noticed():
    atoms = salt()
    atoms.info["charge"] = np.array(0.0)
    neutral = atoms.get_charges().sum()
    atoms.info["charge"][...] = 1.0
    assert atoms.get_charges().sum() - neutral == pytest.approx(1.0, abs=1e-9)


def test_other_precisions_are_refused():
    with pytest.raises(ValueError, match=r"expected torch\.float32 or torch\.float64"):
        CACEQEqCalculator(trained_model(), dtype=torch.float16)


def test_a_missing_total_charge_is_zero_only_for_models_that_saw_no_other():
    atoms = charged_ethanol()
    with pytest.raises(
        ValueError, match=r"has seen \[-1.0, 0.0\] e; state it, 0 included: atoms.info\[\"total_charge\"\]"
    ):
        atoms.get_potential_energy()
    atoms.info["charge"] = 0
    atoms.get_potential_energy()
    del atoms.info["charge"]
    with pytest.raises(ValueError, match="the total charge is missing"):  # not the result from before
        atoms.get_potential_energy()
    charged_ethanol(energy="none").get_potential_energy()


def test_total_charges_that_disagree():
    atoms = ethanol()
    atoms.info.update(charge=1, total_charge=0)
    with pytest.raises(ValueError, match="disagree"):
        atoms.get_potential_energy()


@pytest.mark.parametrize("value", [np.nan, "plus", None, [1, 0]])
def test_total_charges_that_are_no_number(value):
    atoms = ethanol()
    atoms.info["charge"] = value
    with pytest.raises(ValueError, match="charge"):
        atoms.get_potential_energy()


def test_unknown_elements_are_named():
    atoms = molecule("CH3Cl")
    atoms.calc = CACEQEqCalculator(untrained_model(zoo.ethanol()))
    with pytest.raises(ValueError, match="atom 1 is Cl, but the model knows H, C, O alone"):
        atoms.get_potential_energy()


@pytest.mark.parametrize("warm", [False, True], ids=["at first", "with a list at hand"])
@pytest.mark.parametrize(
    ("places", "message"), [(np.nan, "atom 3.*finite"), (np.inf, "atom 3.*finite"), ("on another", "3")]
)
def test_impossible_positions(warm, places, message):
    atoms = ethanol(skin=6.0)  # so wide that atoms can meet inside a list
    if warm:
        atoms.get_forces()
    atoms.positions[3] = atoms.positions[4] if places == "on another" else places
    with pytest.raises(ValueError, match=message):
        atoms.get_forces()


def test_masses_alone_are_a_new_calculation():
    """The dipole of a charged molecule is about its centre of mass."""
    atoms = charged_ethanol()
    atoms.info["charge"] = 1
    before = atoms.get_dipole_moment()
    atoms.set_masses([200.0, *[1.0] * (len(atoms) - 1)])
    assert np.abs(atoms.get_dipole_moment() - before).max() > 0.1


def test_a_device_that_is_not_there():
    with pytest.raises(ValueError, match="device 'gpu' cannot be used"):
        CACEQEqCalculator(untrained_model(zoo.ethanol()), device="gpu")


def test_a_cell_without_volume():
    atoms = salt()
    atoms.set_cell([0, 0, 0])
    with pytest.raises(ValueError, match="cell"):
        atoms.get_potential_energy()


def test_a_model_that_is_broken_says_so():
    model = untrained_model(zoo.ethanol())
    model.set_energy_scale(float("nan"))
    with pytest.raises(ValueError, match="not finite"):
        ethanol(model).get_forces()
