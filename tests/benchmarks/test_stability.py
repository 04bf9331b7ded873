"""When a molecule counts as broken."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.lj import LennardJones
from ase.data import covalent_radii
from ase.io import read

from stability import (
    APART,
    BROKEN,
    COLLAPSED,
    FRAME,
    draw,
    extremes_of,
    far_apart,
    first_break,
    langevin,
    run,
    run_survivors,
    split,
    whole,
)

ETHANOL = molecule("CH3CH2OH")  # C, C and O, then hydrogens


def moved(atom: int, along: int, by: float) -> np.ndarray:
    """Positions with an atom moved away from another."""
    positions = ETHANOL.positions.copy()
    arm = positions[atom] - positions[along]
    positions[atom] += by * arm / np.linalg.norm(arm)
    return positions


def test_a_whole_molecule():
    longest, shortest = extremes_of(ETHANOL.positions, ETHANOL)
    assert 0.9 < shortest < longest < 1.1


def test_a_stretched_bond_of_heavy_atoms():
    radii = covalent_radii[ETHANOL.numbers[:2]].sum()
    longest, _ = extremes_of(moved(0, 1, 1.0), ETHANOL)
    assert longest == pytest.approx((ETHANOL.get_distance(0, 1) + 1.0) / radii)
    assert longest > BROKEN


def test_a_hydrogen_may_change_its_partner_but_not_leave():
    hydrogen = int(np.flatnonzero(ETHANOL.numbers == 1)[0])
    assert extremes_of(moved(hydrogen, 2, 3.0), ETHANOL)[0] > BROKEN
    positions = ETHANOL.positions.copy()
    positions[hydrogen] = positions[0] + [0.0, 0.0, 1.09]
    assert extremes_of(positions, ETHANOL)[0] < 1.1


def test_atoms_that_fall_into_each_other():
    positions = ETHANOL.positions.copy()
    positions[0] = positions[1] + [0.0, 0.5, 0.0]
    assert extremes_of(positions, ETHANOL)[1] < COLLAPSED


def test_the_first_break_is_a_long_bond_or_a_collapse():
    whole = np.tile([1.1, 0.9], (5, 1))
    long, short = whole.copy(), whole.copy()
    long[3:, 0], short[2:, 1] = 2 * BROKEN, COLLAPSED / 2
    assert first_break(whole) is None
    assert first_break(long) == pytest.approx(3 * FRAME)
    assert first_break(short) == pytest.approx(2 * FRAME)


def test_molecules_are_told_apart():
    (first, _), (second, start) = split(far_apart([ETHANOL, ETHANOL]), [ETHANOL, ETHANOL])
    np.testing.assert_allclose(second - first, np.tile([APART, 0, 0], (9, 1)), atol=1e-12)
    assert start is ETHANOL


def test_an_explosion_is_a_result(tmp_path):
    """Two atoms that begin in each other; what was written before stays."""
    atoms = Atoms("Ar2", [[0, 0, 0], [0.5, 0, 0]])
    atoms.calc = LennardJones(epsilon=0.01, sigma=3.4, rc=10.0)
    summary = run(atoms, langevin(300.0, 0.5, 0.2), tmp_path / "hot.extxyz")
    assert "fly apart" in summary["stopped"]
    assert len(read(tmp_path / "hot.extxyz", ":")) == 1


def test_when_one_flies_apart_the_others_go_on(tmp_path):
    radii = 2 * covalent_radii[18]
    pairs = [Atoms("Ar2", [[0, 0, 0], [0, length * radii, 0]]) for length in (1.0, 0.61, 1.05)]
    argon, path = LennardJones(epsilon=30.0, sigma=radii / 2 ** (1 / 6), rc=20.0), tmp_path / "argon.extxyz"
    runs, lives = run_survivors(pairs, argon, langevin(300.0, 0.5, 0.5), path)
    assert ["stopped" in one for one in runs] == [True, False]
    assert [first_break(life) for life in lives] == [None, pytest.approx(FRAME), None]
    assert [len(life) for life in lives] == [11, 2, 11]
    draw({300.0: lives, 600.0: lives[:1]}, tmp_path / "lives.png")
    assert (tmp_path / "lives.png").stat().st_size > 1000
    again = run_survivors(pairs, argon, langevin(300.0, 0.5, 0.5), path)
    np.testing.assert_array_equal(again[1][2], lives[2])


def test_a_molecule_whose_atoms_have_flown_apart_is_not_whole():
    assert whole(1.3, 0.8)
    assert not whole(BROKEN + 0.1, 0.8)
    assert not whole(1.3, COLLAPSED - 0.1)
    assert not whole(np.nan, np.nan)
