"""Frames written and read again have the labels that they had."""

import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator

import zoo
from cace_qeq.structures import LabelKeys, labels_of, read_frames, total_charge_of, write_frames

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


def test_what_is_missing_stays_missing(tmp_path):
    atoms = molecule("H2O")
    atoms.calc = SinglePointCalculator(atoms, energy=-3.0)
    write_frames(tmp_path / "out.extxyz", [atoms], LabelKeys())
    (again,) = read_frames(tmp_path / "out.extxyz")
    assert labels_of(again, LabelKeys()).energy.item() == -3.0
    assert set(again.info) == {"REF_energy", "cace_qeq_source"}
    assert set(again.arrays) == {"numbers", "positions"}
