"""Frames written and read again have the labels that they had."""

import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator

import zoo
from cace_qeq.structures import (
    LabelKeys,
    label_sources,
    labels_of,
    read_frames,
    total_charge_of,
    write_frames,
    write_predictions,
)
from cace_qeq.structures.convert.conditions import written_conditions

KEYS = LabelKeys(energy="E0", forces="F0", charges="Q0", stress="S0", dipole="D0", total_charge="N0")


def labelled(atoms):
    random = np.random.default_rng(len(atoms))
    atoms = atoms.copy()
    atoms.info |= {"E0": -12.5, "N0": 1.0, "S0": random.standard_normal(6), "D0": random.standard_normal(3), "extra": 1}
    atoms.arrays |= {"F0": random.standard_normal((len(atoms), 3)), "Q0": random.standard_normal(len(atoms))}
    return atoms


@pytest.mark.parametrize("atoms", [zoo.ethanol(), *zoo.unequal()], ids=str)
def test_labels_come_back(tmp_path, atoms):
    atoms = labelled(atoms)
    write_frames(tmp_path / "out.extxyz", [atoms], KEYS)
    (again,) = read_frames(tmp_path / "out.extxyz")
    expected, found = labels_of(atoms, KEYS), labels_of(again, LabelKeys())
    for name in ("energy", "forces", "charges", "stress", "dipole"):
        values = getattr(expected, name).numpy()
        np.testing.assert_allclose(getattr(found, name).numpy(), values, atol=1e-8, err_msg=name)  # eight digits
    assert total_charge_of(again, LabelKeys(), None) == 1.0
    assert again.pbc.tolist() == atoms.pbc.tolist()
    assert "extra" not in again.info


def test_weights_and_types_come_back(tmp_path):
    atoms = labelled(zoo.ethanol())
    atoms.info |= {"config_weight": 0.5, "config_forces_weight": 4.0, "config_type": "surface"}
    write_frames(tmp_path / "out.extxyz", [atoms], KEYS)
    (again,) = read_frames(tmp_path / "out.extxyz")
    expected, found = (labels_of(*pair).weights[0] for pair in ((atoms, KEYS), (again, LabelKeys())))
    kept = [0, 1, 3, 4]  # the stress of a molecule is no label
    assert found[kept].tolist() == expected[kept].tolist() == [0.5, 2.0, 0.5, 0.5]
    assert again.info["config_type"] == "surface"


def test_what_is_missing_stays_missing(tmp_path):
    atoms = molecule("H2O")
    atoms.calc = SinglePointCalculator(atoms, energy=-3.0)
    write_frames(tmp_path / "out.extxyz", [atoms], LabelKeys())
    (again,) = read_frames(tmp_path / "out.extxyz")
    assert labels_of(again, LabelKeys()).energy.item() == -3.0
    assert set(again.info) == {"REF_energy", "cace_qeq_source"}
    assert set(again.arrays) == {"numbers", "positions"}


def test_masses_and_conditions_on_charges_stay(tmp_path):
    """A structure without them is another problem."""
    atoms = labelled(zoo.ethanol())
    atoms.set_masses(np.arange(1.0, 10.0))
    atoms.arrays["charge_fragment"] = np.array([0] * 4 + [1] * 5)
    atoms.info |= {
        "fragment_charges": [1.0, 0.0],
        "electric_field": [0.0, 0.0, 0.5],
        "external_positions": np.array([[9.0, 0.0, 0.0], [0.0, 9.0, 0.0]]),
        "external_charges": np.array([0.5, -0.5]),
        "external_widths": np.array([1.0, 1.0]),
    }
    write_frames(tmp_path / "out.extxyz", [atoms], KEYS)
    (again,) = read_frames(tmp_path / "out.extxyz")
    assert again.get_masses().tolist() == atoms.get_masses().tolist()
    assert written_conditions(again) == written_conditions(atoms)


@pytest.mark.parametrize("weights", [{"config_energy_weight": 0}, {"config_weight": 0}], ids=str)
def test_what_had_no_weight_is_no_label_of_predicted_frames(tmp_path, weights):
    atoms, results = molecule("H2O"), {"energy": -1.0, "short_range_energy": -1.5, "electrostatic_energy": 0.5}
    atoms.info |= {"REF_energy": 12345.0, "REF_dipole": np.ones(3), **weights}
    write_predictions(tmp_path / "out.extxyz", [atoms], [results], "f0", LabelKeys())
    (again,) = read_frames(tmp_path / "out.extxyz")
    assert again.info["REF_energy"] == 12345.0
    found, before = (label_sources(frame, LabelKeys()) for frame in (again, atoms))
    assert found == before
    assert found["energy"] is None


def test_weights_of_predicted_frames_are_those_of_before(tmp_path):
    atoms = molecule("H2O")
    atoms.info |= {"REF_energy": -1.0, "config_weight": 2.0, "config_energy_weight": 3.0, "config_note": "x"}
    write_predictions(
        tmp_path / "out.extxyz", [atoms], [{"energy": -1.0, "forces": np.ones((3, 3))}], "f0", LabelKeys()
    )
    (again,) = read_frames(tmp_path / "out.extxyz")
    assert labels_of(again, LabelKeys()).weights[0, 0] == labels_of(atoms, LabelKeys()).weights[0, 0] == 6
    assert again.info["config_note"] == "x"
