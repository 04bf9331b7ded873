"""Labels of the reference sets come out of the engine again."""

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from cace_qeq.datasets import dataset

pytest.importorskip("tblite", reason="needs the extra xtb: pip install 'cace_qeq[xtb]'")
from generate.engine import ChargeState, force_error, single_point, stress_error  # noqa: E402


@pytest.mark.parametrize("system, frame", [("ag3", 3), ("ag3", 4), ("carbon_chain", -1), ("nacl_cluster", -1)])
def test_stored_labels_are_reproduced(system, frame):
    atoms = ase.io.read(dataset(system) / "test.extxyz", index=frame)
    labels = single_point(atoms, state_of(atoms))
    # the printed digits: 8 for energies, 5 for the others; charges are rounded to add up, up to 2 units
    assert labels.energy == pytest.approx(atoms.info["REF_energy"], abs=2e-7)
    np.testing.assert_allclose(labels.forces, atoms.arrays["REF_forces"], atol=2e-5)
    np.testing.assert_allclose(labels.charges, atoms.arrays["REF_charges"], atol=3e-5)
    np.testing.assert_allclose(labels.dipole, atoms.info["REF_dipole"], atol=2e-5)


def test_dipole_of_an_ion_does_not_depend_on_the_origin():
    atoms = Atoms("Ag3", [[0, 0, 0], [2.7, 0, 0], [1.0, 2.6, 0.3]])
    moved = atoms.copy()
    moved.translate([5.0, -3.0, 1.0])
    dipoles = [single_point(a, ChargeState(1)).dipole for a in (atoms, moved)]
    np.testing.assert_allclose(dipoles[0], dipoles[1], atol=1e-5)  # convergence of the charges


def test_forces_are_the_slope_of_the_energy():
    atoms = ase.io.read(dataset("nacl_cluster") / "test.extxyz", index=0)
    assert force_error(atoms, state_of(atoms)) < 1e-3  # eV/Å; third derivatives at a step of 0.005 Å


def test_stress_is_the_slope_of_the_energy_in_strain():
    atoms = bulk("NaCl", "rocksalt", a=5.5, cubic=True)
    atoms.rattle(0.05, seed=1)
    assert stress_error(atoms, ChargeState(0)) < 1e-5  # eV/Å³; third derivatives at a strain of 0.001


def test_dipole_is_the_slope_of_the_energy_in_a_field():
    water = Atoms("OH2", [[0, 0, 0], [0, 0.76, 0.59], [0, -0.76, 0.59]])
    energies = [single_point(water, ChargeState(0), [0.0, 0.0, field]).energy for field in (-0.01, 0.01)]
    slope = (energies[1] - energies[0]) / 0.02  # of E - F.μ
    assert -slope == pytest.approx(single_point(water, ChargeState(0)).dipole[2], abs=1e-4)


def test_a_molecule_has_no_stress():
    with pytest.raises(ValueError, match="no stress"):
        stress_error(Atoms("Ag3", np.diag([2.7, 2.7, 2.7])), ChargeState(1))


def state_of(atoms: Atoms) -> ChargeState:
    """The state that a stored frame was labelled in; an odd number of electrons leaves one unpaired."""
    total_charge = int(atoms.info["total_charge"])
    return ChargeState(total_charge, unpaired=int(atoms.numbers.sum() - total_charge) % 2)
