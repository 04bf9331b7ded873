"""Samples of harmonic motion."""

import numpy as np
import pytest
from ase import Atoms
from ase.units import kB

pytest.importorskip("tblite", reason="needs the extra xtb: pip install 'cace_qeq[xtb]'")
from generate.sampling import random_rotation, rigid_motions, thermal_samples, vibrations  # noqa: E402

SPRING = 20.0  # eV/Å²


def spring_dimer() -> tuple[Atoms, np.ndarray]:
    """Two atoms on one spring along x, and the Hessian."""
    hessian = np.zeros((6, 6))
    hessian[np.ix_([0, 3], [0, 3])] = SPRING * np.array([[1, -1], [-1, 1]])
    return Atoms("NaCl", [[0, 0, 0], [2.4, 0, 0]]), hessian


def test_rotations_are_proper():
    rotation = random_rotation(np.random.default_rng(0))
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-14)
    assert np.linalg.det(rotation) == pytest.approx(1)


@pytest.mark.parametrize("positions, expected", [([[0, 0, 0], [0, 0, 1], [0, 0, 2]], 5), (np.eye(3), 6)])
def test_linear_molecules_have_five_rigid_motions(positions, expected):
    assert rigid_motions(Atoms("OCO", positions)).shape == (9, expected)


def test_a_dimer_has_one_vibration_of_the_reduced_mass():
    atoms, hessian = spring_dimer()
    stiffness, modes = vibrations(atoms, hessian)
    assert modes.shape == (6, 1)
    assert stiffness == pytest.approx(SPRING * (1 / atoms.get_masses()).sum())


def test_bond_length_follows_equipartition():
    atoms, hessian = spring_dimer()
    samples = thermal_samples(atoms, hessian, (600.0,), np.random.default_rng(7))
    lengths = np.array([next(samples)[0].get_distance(0, 1) for _ in range(4000)])
    # relative deviation of a variance of 4000 draws is 0.022; four of them
    assert lengths.var() == pytest.approx(kB * 600 / SPRING, rel=0.09)


def test_temperatures_come_in_turn():
    atoms, hessian = spring_dimer()
    samples = thermal_samples(atoms, hessian, (300.0, 600.0), np.random.default_rng(7))
    assert [next(samples)[1] for _ in range(4)] == [300, 600, 300, 600]
