"""Frames as text: exact numbers, whole frames."""

import io

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms, FixCartesian
from ase.io import read

from cace_qeq.simulation.trajectory import append, frame_text, tail
from cace_qeq.structures import conditions_of

RNG = np.random.default_rng(0)


def moving(periodic: bool = True) -> Atoms:
    atoms = Atoms("OCl2", RNG.normal(scale=1e3, size=(3, 3)) * [1, 1e-6, 1e-12], momenta=RNG.normal(size=(3, 3)))
    if periodic:
        atoms.set_cell(RNG.normal(size=(3, 3)))
        atoms.pbc = True
    results = {
        "energy": RNG.normal(),
        "forces": RNG.normal(size=(3, 3)),
        "charges": RNG.normal(size=3),
        "stress": RNG.normal(size=6),
    }
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


@pytest.mark.parametrize("periodic", [True, False])
def test_ase_reads_what_is_written(periodic):
    atoms = moving(periodic)
    again = read(io.StringIO(frame_text(atoms, {"step": 7})), format="extxyz")
    assert again.get_chemical_symbols() == atoms.get_chemical_symbols()
    assert np.array_equal(again.positions, atoms.positions)
    assert np.array_equal(again.get_momenta(), atoms.get_momenta())
    assert np.array_equal(again.cell.array, atoms.cell.array)
    assert np.array_equal(again.pbc, atoms.pbc)
    assert again.info == {"step": 7}
    assert again.get_potential_energy() == atoms.get_potential_energy()
    np.testing.assert_allclose(again.get_stress(), atoms.get_stress(), rtol=1e-15)
    np.testing.assert_allclose(again.get_forces(), atoms.get_forces(), atol=1e-10)
    np.testing.assert_allclose(again.get_charges(), atoms.get_charges(), atol=1e-10)


@pytest.mark.parametrize("key", ["charge", "total_charge"])
def test_the_total_charge_is_kept_and_nothing_else(key):
    atoms = moving()
    atoms.info.update({key: -2, "REF_energy": 5.0, "remark": object()})
    assert read(io.StringIO(frame_text(atoms, {})), format="extxyz").info == {key: -2}


def test_conditions_are_kept():
    atoms = moving(periodic=False)
    atoms.arrays["charge_fragment"] = np.array([0, -1, 1])
    atoms.info.update(fragment_charges=np.array([0.5, -0.5]), electric_field=np.array([0.0, 0.1, 0.0]))
    atoms.info["external_charges"] = 1.0
    atoms.info["external_positions"] = np.array([[0.0, 0.0, 9.0]])
    again = read(io.StringIO(frame_text(atoms, {})), format="extxyz")
    assert str(conditions_of(again)) == str(conditions_of(atoms))
    first = frame_text(atoms, {}).splitlines()[2].split()
    assert [float(value) for value in first[1:4]] == atoms.positions[0].tolist()  # where plain XYZ has them


def test_the_tail_is_the_last_whole_frame(tmp_path):
    path = tmp_path / "md.extxyz"
    texts = [frame_text(moving(), {"step": step}) for step in range(3)]
    for text in texts:
        append(path, text)
    assert path.read_text() == "".join(texts)
    assert tail(path, range(10)).atoms.info["step"] == 2
    assert tail(path, range(10)).end == path.stat().st_size
    whole = len("".join(texts[:2]))
    for extra in range(len(texts[2])):
        path.write_text("".join(texts)[: whole + extra])
        assert tail(path, range(10)).end == whole
    assert tail(path, range(10)).atoms.info["step"] == 1


@pytest.mark.parametrize("damage", [b"8", b"x", b"\0", b"30", b"3 3"])
def test_only_at_the_end_may_a_frame_break_off(tmp_path, damage):
    """Whole frames would be cut off behind a number of atoms that one byte has changed."""
    path = tmp_path / "md.extxyz"
    texts = [frame_text(moving(), {"step": step}).encode() for step in range(4)]
    texts[2] = damage + texts[2][1:]
    path.write_bytes(b"".join(texts))
    with pytest.raises(ValueError, match=f"md.extxyz is damaged at byte {len(texts[0] + texts[1])}"):
        tail(path, range(10))


def test_no_frame_no_tail(tmp_path):
    (tmp_path / "md.extxyz").write_text(frame_text(moving(), {})[:-10])
    with pytest.raises(ValueError, match="no complete frame"):
        tail(tmp_path / "md.extxyz", range(10))


def test_masses_of_other_isotopes_are_kept():
    atoms = moving()
    assert "masses" not in frame_text(atoms, {})
    atoms.set_masses([18.0, 35.0, 37.0])
    again = read(io.StringIO(frame_text(atoms, {})), format="extxyz")
    assert again.get_masses().tolist() == [18.0, 35.0, 37.0]


def test_what_is_held_stays_held_for_the_next_run():
    atoms = moving()
    assert "move_mask" not in frame_text(atoms, {})
    atoms.set_constraint(FixAtoms([1]))
    again = read(io.StringIO(frame_text(atoms, {})), format="extxyz")
    assert [constraint.todict() for constraint in again.constraints] == [FixAtoms([1]).todict()]
    atoms.set_constraint([FixAtoms([1]), FixCartesian([0], mask=(True, False, False))])
    again = read(io.StringIO(frame_text(atoms, {})), format="extxyz")
    before = atoms.positions.copy()
    again.set_positions(before + 1.0)
    moved = again.positions - before
    assert moved.round(6).tolist() == [[0, 1, 1], [0, 0, 0], [1, 1, 1]]
