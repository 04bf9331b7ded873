"""Reading files: what comes back, and what is refused with the file, frame and atom named."""

import bz2
import gzip
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.db import connect

import zoo
from cace_qeq.structures import LabelKeys, check_atoms, conditions_of, labels_of, place, read_frames, total_charge_of

GOOD = '2\nLattice="9 0 0 0 9 0 0 0 9" pbc="T T T"\nH 0 0 0\nH 0 0 0.8\n'
SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"


def written(folder: Path, text: str, name: str = "frames.extxyz") -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", ["frames.extxyz", "frames.xyz", "frames.traj", "frames.json"])
def test_structures_survive_a_file(tmp_path, name):
    structures = zoo.unequal()
    ase.io.write(tmp_path / name, structures)
    frames = read_frames(tmp_path / name)
    assert len(frames) == len(structures)
    for frame, atoms in zip(frames, structures, strict=True):
        assert frame.numbers.tolist() == atoms.numbers.tolist()
        assert frame.pbc.tolist() == atoms.pbc.tolist()
        np.testing.assert_allclose(frame.positions, atoms.positions, atol=1e-8)  # eight digits are written
        np.testing.assert_allclose(frame.cell.array, atoms.cell.array, atol=1e-8)


@pytest.mark.parametrize("name", ["rows.db", "rows.json"])
def test_a_database_keeps_what_it_says_of_its_rows(tmp_path, name):
    water = zoo.water()
    forces, dipole = np.arange(9.0).reshape(3, 3), np.array([0.1, 0.2, 0.3])
    with connect(tmp_path / name) as database:
        database.write(water, total_charge=1, REF_energy=-3.5, data={"REF_forces": forces, "REF_dipole": dipole})
    (frame,) = read_frames(tmp_path / name)
    assert total_charge_of(frame, LabelKeys(), default=None) == 1
    labels = labels_of(frame, LabelKeys())
    assert labels.energy.item() == -3.5
    np.testing.assert_array_equal(labels.forces, forces)
    np.testing.assert_array_equal(labels.dipole, dipole[None])


@pytest.mark.parametrize("n_atoms", [2, 3])
def test_conditions_in_a_database_belong_to_the_structure_whatever_its_size(tmp_path, n_atoms):
    atoms = molecule("N2" if n_atoms == 2 else "H2O")
    said = {
        "electric_field": np.array([0.0, 0.0, 0.5]),
        "external_positions": np.array([[4.0, 0.0, 0.0], [0.0, 5.0, 0.0], [0.0, 0.0, 6.0]]),
        "external_charges": np.array([0.1, 0.2, -0.3]),
        "fragment_charges": np.zeros(3),
        "charge_fragment": np.arange(n_atoms),
    }
    with connect(tmp_path / "rows.db") as database:
        database.write(atoms, data=said)
    (frame,) = read_frames(tmp_path / "rows.db")
    found = conditions_of(frame)
    np.testing.assert_array_equal(found.field, said["electric_field"])
    np.testing.assert_array_equal(found.external_positions, said["external_positions"])
    np.testing.assert_array_equal(found.external_charges, said["external_charges"])
    assert len(found.fragments) == 3


def test_frames_know_where_they_come_from(tmp_path):
    path = written(tmp_path, 3 * GOOD)
    assert [place(atoms) for atoms in read_frames(path)] == [f"{path}, frame {n}" for n in range(3)]


def test_copies_know_it_too(tmp_path):
    frame = read_frames(written(tmp_path, GOOD))[0]
    assert place(frame.copy()) == place(frame)


def test_structures_made_in_memory_go_by_their_formula():
    assert place(zoo.ethanol()) == "C2H6O"


@pytest.mark.parametrize("ending", ["", "\n\n", "  \n"])
def test_the_end_of_a_file_may_be_blank(tmp_path, ending):
    assert len(read_frames(written(tmp_path, 2 * GOOD + ending))) == 2


def test_a_sign_in_the_name_is_no_index(tmp_path):
    assert len(read_frames(written(tmp_path, 2 * GOOD, "run@0.extxyz"))) == 2


@pytest.mark.parametrize(
    ("text", "complaint"),
    {
        "last atom lost": (GOOD + GOOD[:-11], "frame 1: 1 atoms, expected 2 as line 5 says; .*truncated"),
        "comment lost": (GOOD + "2\n", "frame 1: 0 atoms, expected 2"),
        "cut within a line": (GOOD + GOOD[:-6], "frame 1: "),
        "too many atoms": (GOOD + "H 0 0 3\n" + GOOD, "frame 1: line 5 is 'H 0 0 3', expected the number"),
        "blank line between": (GOOD + "\n" + GOOD, "frame 1: line 5 is '', expected the number of atoms"),
        "words": ("water\n" + GOOD, "frame 0: line 1 is 'water', expected the number of atoms"),
        "no such element": (GOOD + GOOD.replace("H 0 0 0\n", "Xq 0 0 0\n"), "frame 1: .*KeyError"),
        "no element": (GOOD.replace("H 0 0 0\n", "X 0 0 0\n"), r"frame 0, atom 0: no element \(X\)"),
        "not a number": (GOOD + GOOD.replace("0.8", "nan"), "frame 1, atom 1: position .*nan"),
        "infinite": (GOOD.replace("0.8", "inf"), "frame 0, atom 1: position .*inf"),
        "letters for digits": (GOOD.replace("0.8", "zero"), "frame 0: ASE cannot read it"),
        "a stress of six": (
            GOOD + GOOD.replace("pbc", 'stress="1 2 3 4 5 6" pbc'),
            "frame 1: ASE cannot read .* stress",
        ),
        "flat cell": (GOOD.replace("9 0 0 0 9 0 0 0 9", "9 0 0 0 9 9 0 9 9"), "frame 0: .* no volume"),
        "no cell": ('1\npbc="T T T"\nH 0 0 0\n', "frame 0: .* no volume"),
        "no cell in one direction": ('1\npbc="F T F"\nH 0 0 0\n', "frame 0: .* no volume"),
        "empty": ("", "the file is empty"),
        "blank": ("\n \n", "no structures found"),
        "no atoms": ('0\npbc="F F F"\n', "frame 0: no atoms"),
    }.values(),
)
def test_files_that_are_refused(tmp_path, text, complaint):
    path = written(tmp_path, text)
    with pytest.raises(ValueError, match=complaint) as error:
        read_frames(path)
    assert str(error.value).startswith(str(path))


def test_missing_files_are_both_a_missing_file_and_a_bad_value(tmp_path):
    for kind in (FileNotFoundError, ValueError):
        with pytest.raises(kind, match=r"nowhere\.extxyz: no such file"):
            read_frames(tmp_path / "nowhere.extxyz")
    with pytest.raises(ValueError, match="no such file"):
        read_frames(tmp_path)


@pytest.mark.parametrize("name", ["notes.xyz", "notes", "notes.dat"])
def test_files_of_another_kind_are_refused(tmp_path, name):
    (tmp_path / name).write_bytes(bytes(range(256)))
    with pytest.raises(ValueError, match=name):
        read_frames(tmp_path / name)


@pytest.mark.parametrize("make", zoo.EVERYTHING.values(), ids=zoo.EVERYTHING)
def test_the_zoo_is_accepted(make):
    check_atoms(make())


def test_small_cells_have_a_volume():
    check_atoms(Atoms("H", cell=[1e-2, 1e-2, 1e-2], pbc=True))


@pytest.mark.parametrize("name", ["ag3_qm", "nacl_qm", "naclbulk_qm", "dipeptides_spice", "batio3_bec"])
def test_published_sets_can_be_read(name):
    path = SHARED / name / "train.extxyz"
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    assert len(read_frames(path)) >= 42


@pytest.mark.parametrize("name", ["frames.XYZ", "frames.extxyz.gz", "frames.xyz.bz2"])
def test_blank_lines_are_found_whatever_the_name(tmp_path, name):
    """ASE would stop there and be silent about the rest."""
    frame = "1\nProperties=species:S:1:pos:R:3\nH 0 0 0\n"
    opened = {".gz": gzip.open, ".bz2": bz2.open}.get(Path(name).suffix, open)
    with opened(tmp_path / name, "wt") as file:
        file.write(f"{frame}\n{frame}")
    with pytest.raises(ValueError, match=r"frame 1: line 4 is '', expected the number of atoms"):
        read_frames(tmp_path / name)


def test_frames_without_atoms_are_named(tmp_path):
    (tmp_path / "empty.xyz").write_text("1\n\nO 0 0 0\n0\n\n")
    with pytest.raises(ValueError, match=r"empty\.xyz, frame 1: no atoms, as line 4 says; remove the frame"):
        read_frames(tmp_path / "empty.xyz")


@pytest.mark.parametrize("row", ["O 0 0 0 1 2 3 4", "O 0 0 0 1 2"])
def test_rows_with_other_columns_than_they_say_are_refused(tmp_path, row):
    """ASE would take the first ones, which may be others."""
    comment = 'energy=1 Properties="species:S:1:pos:R:3:forces:R:3"'
    (tmp_path / "shifted.xyz").write_text(f"2\n{comment}\nO 0 0 0 1 2 3\n{row}\n")
    with pytest.raises(ValueError, match=rf"shifted.xyz, frame 0, atom 1: {len(row.split())} columns, expected 7"):
        read_frames(tmp_path / "shifted.xyz")


def test_rows_without_a_statement_may_have_more_columns(tmp_path):
    (tmp_path / "plain.xyz").write_text("1\nwater\nO 0 0 0 -0.8\n")
    assert len(read_frames(tmp_path / "plain.xyz")) == 1


def test_comments_may_speak_of_properties(tmp_path):
    """What counts is what ASE takes for the key; a form feed ends no line."""
    comment = 'note="once Properties=species:S:1:pos:R:3 \x0c" Properties=species:S:1:pos:R:3:forces:R:3'
    (tmp_path / "spoken.xyz").write_text(f"1\n{comment}\nO 0 0 0 1 2 3\n")
    (atoms,) = read_frames(tmp_path / "spoken.xyz")
    assert atoms.get_forces().tolist() == [[1, 2, 3]]
