"""What the calculator refuses or warns of, where others would go on without a word."""

import warnings

import numpy as np
import pytest
import torch

from cace_qeq.calculator import CACEQEqCalculator
from cace_qeq.electrostatics.kernels import self_interaction
from cace_qeq.model import CACEQEq
from small_models import cluster, trained_model, untrained_model


def neutral_model(energy: str):
    model = untrained_model(cluster(), energy=energy)
    model.provenance["total_charges"] = [0.0]
    return model


def test_settings_that_would_change_nothing_are_refused():
    calculator = CACEQEqCalculator(trained_model())
    with pytest.raises(ValueError, match=r"charge: a calculator keeps its settings.*atoms.info\[\"charge\"\] = 1"):
        calculator.set(charge=1)


def test_several_models_are_a_committee():
    with pytest.raises(ValueError, match=r"not list; several models together are a Committee"):
        CACEQEqCalculator([trained_model(), trained_model()])


def test_a_charge_that_training_cannot_have_told_about_is_warned_of():
    atoms = cluster()
    atoms.calc = CACEQEqCalculator(neutral_model("equilibrated"))
    atoms.info["charge"] = 1
    with pytest.warns(UserWarning, match=r"seen a total charge of \+0 e alone"):
        atoms.get_potential_energy()


@pytest.mark.parametrize("energy", ["equilibrated", "coulomb"])
def test_charges_that_electrodes_give_are_warned_of(energy):
    atoms = cluster()
    atoms.calc = CACEQEqCalculator(neutral_model(energy))
    atoms.arrays["electrode"] = np.zeros(len(atoms), dtype=int)
    atoms.info["electrode_potentials"] = [1.0]
    with pytest.warns(UserWarning, match="beside electrodes"):
        atoms.get_potential_energy()


@pytest.mark.parametrize(("energy", "charge"), [("equilibrated", 0), ("coulomb", 1), ("none", 1)])
def test_nothing_is_warned_of_where_training_decides(energy, charge):
    atoms = cluster()
    atoms.calc = CACEQEqCalculator(neutral_model(energy))
    atoms.info["charge"] = charge
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        atoms.get_potential_energy()


def test_that_multiple_is_arbitrary_indeed():
    """Electronegativities that all grow by 2 eV/e change nothing but energies at other total charges."""
    model, moved = neutral_model("equilibrated"), neutral_model("equilibrated")
    heads, species = moved.charge_heads, torch.arange(len(moved.config.species))
    with torch.no_grad():
        heads.electronegativity.offset += 2 / (heads.hardness(None, species) + self_interaction(heads.width(species)))
    (energies, forces), (moved_energies, moved_forces) = map(at_two_charges, (model, moved))
    assert moved_energies[0] == pytest.approx(energies[0], abs=1e-6)
    assert moved_energies[1] == pytest.approx(energies[1] + 2, abs=1e-6)
    np.testing.assert_allclose(moved_forces, forces, atol=1e-6)


def at_two_charges(model: CACEQEq) -> tuple[list[float], np.ndarray]:
    """Energies at 0 and 1 e, and all forces."""
    atoms, energies, forces = cluster(), [], []
    atoms.calc = CACEQEqCalculator(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for charge in (0, 1):
            atoms.info["charge"] = charge
            energies.append(atoms.get_potential_energy())
            forces.append(atoms.get_forces())
    return energies, np.array(forces)


@pytest.mark.parametrize(("seen", "charge"), [([0.0, 1.0], -1), ([-1.0, 0.0], 1), ([0.0], 2)])
def test_an_excess_charge_whose_place_was_never_learned_is_warned_of(seen, charge):
    model = untrained_model(cluster(), energy="coulomb", charge_flow="bonds")
    model.provenance["total_charges"] = seen
    atoms = cluster()
    atoms.calc, atoms.info["charge"] = CACEQEqCalculator(model), charge
    with pytest.warns(UserWarning, match=rf"at \{charge:+g} e, the excess begins on the atoms"):
        atoms.get_potential_energy()
    atoms.info["charge"] = next((known for known in seen if known), 0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        atoms.get_potential_energy()


@pytest.mark.parametrize(("seen", "charge"), [([0.0], 5e-17), ([-1.0, 0.0, 1.0], 1 + 1e-12)])
@pytest.mark.parametrize("flow", ["free", "bonds"])
def test_rounding_of_charges_is_not_warned_of(seen, charge, flow):
    model = untrained_model(cluster(), charge_flow=flow)
    model.provenance["total_charges"] = seen
    atoms = cluster()
    atoms.calc, atoms.info["charge"] = CACEQEqCalculator(model), charge
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        atoms.get_potential_energy()
