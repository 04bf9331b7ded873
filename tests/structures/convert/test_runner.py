"""RuNNer's input.data: numbers computed by hand from the atomic units, and everything that is refused."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from cace_qeq.structures import LabelKeys, labels_of, place, read_frames, total_charge_of
from cace_qeq.structures.convert.runner import is_runner

BOHR, HARTREE = 0.529177210903, 27.211386245988  # CODATA 2018
MOLECULE = """begin
comment made up
atom 0.0 0.0 0.0 C -0.1 0.0 0.01 0.0 -0.02
atom 2.0 0.0 0.5 H 1.1 0.0 -0.01 0.0 0.02
energy -38.5
charge 1.0
end
"""
CRYSTAL = """begin
lattice 8.0 0.0 0.0
lattice 0.0 9.0 0.0
lattice 1.0 0.0 10.0
atom 1.0 1.0 1.0 Mg 0.4 0.0 0.1 0.2 0.3
atom 4.0 4.0 4.0 O -0.4 0.0 -0.1 -0.2 -0.3
energy -275.0
charge -0.0
end
"""
SHARED = Path(__file__).resolve().parents[4] / "shared" / "data" / "carbon_chain_4g"


def written(folder: Path, text: str, name: str = "input.data") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_atomic_units_become_ours(tmp_path):
    (atoms,) = read_frames(written(tmp_path, MOLECULE))
    labels = labels_of(atoms, LabelKeys())
    assert atoms.get_chemical_symbols() == ["C", "H"]
    np.testing.assert_allclose(atoms.positions[1], [2 * BOHR, 0, 0.5 * BOHR], rtol=1e-8)  # constants of 2014 and 2018
    assert labels.energy.item() == pytest.approx(-38.5 * HARTREE, rel=1e-8)
    np.testing.assert_allclose(labels.forces[0], np.array([0.01, 0, -0.02]) * HARTREE / BOHR, rtol=1e-8)
    assert labels.charges.tolist() == [-0.1, 1.1]
    assert total_charge_of(atoms, LabelKeys(), None) == 1.0
    assert not atoms.pbc.any()


def test_a_lattice_makes_a_crystal(tmp_path):
    (atoms,) = read_frames(written(tmp_path, CRYSTAL))
    assert atoms.pbc.all()
    np.testing.assert_allclose(atoms.cell.array, BOHR * np.array([[8, 0, 0], [0, 9, 0], [1, 0, 10]]), rtol=1e-8)


def test_frames_of_a_file_know_their_place(tmp_path):
    path = written(tmp_path, MOLECULE + "\n" + CRYSTAL)
    assert [place(atoms) for atoms in read_frames(path)] == [f"{path}, frame 0", f"{path}, frame 1"]


def test_a_method_without_charges_has_none(tmp_path):
    text = MOLECULE.replace(" -0.1 0.0 0.01", " 0.0 0.0 0.01").replace("1.1", "0.0").replace("charge 1.0", "charge 0.0")
    (atoms,) = read_frames(written(tmp_path, text))
    assert labels_of(atoms, LabelKeys()).charges.isnan().all()
    assert "total_charge" not in atoms.info


def test_ions_of_a_method_without_atomic_charges_keep_their_total_charge(tmp_path):
    text = MOLECULE.replace(" -0.1 0.0 0.01", " 0.0 0.0 0.01").replace("1.1", "0.0")
    (atoms,) = read_frames(written(tmp_path, text))
    assert labels_of(atoms, LabelKeys()).charges.isnan().all()
    assert total_charge_of(atoms, LabelKeys(), None) == 1.0


def test_a_neutral_frame_among_charged_ones_keeps_its_charges(tmp_path):
    frames = read_frames(written(tmp_path, MOLECULE + CRYSTAL))
    assert [total_charge_of(atoms, LabelKeys(), None) for atoms in frames] == [1.0, 0.0]


def test_without_energy_there_is_no_label(tmp_path):
    (atoms,) = read_frames(written(tmp_path, MOLECULE.replace("energy -38.5\n", "")))
    assert labels_of(atoms, LabelKeys()).energy.isnan().all()


@pytest.mark.parametrize(
    ("text", "name", "ours"),
    [
        ("\n begin\n", "input.data", True),
        ("# of n2p2\nbegin\n", "input.data.1", True),
        ("made up\n\n1 atoms\n", "lammps.data", False),
        ("", "a.data", False),
    ],
)
def test_a_file_is_known_by_its_first_word(tmp_path, text, name, ours):
    assert is_runner(written(tmp_path, text, name)) is ours


def test_a_file_that_is_named_xyz_is_xyz(tmp_path):
    with pytest.raises(ValueError, match="line 1 is 'begin', expected the number of atoms"):
        read_frames(written(tmp_path, MOLECULE, "begin.xyz"))


def test_compressed_files_and_other_names_keep_their_charges(tmp_path):
    (expected,) = read_frames(written(tmp_path, MOLECULE))
    (tmp_path / "input.data.gz").write_bytes(gzip.compress(f"# set 1\n{MOLECULE}".encode()))
    for path in (tmp_path / "input.data.gz", written(tmp_path, MOLECULE, "input.data.train")):
        (found,) = read_frames(path)
        np.testing.assert_array_equal(found.arrays["REF_charges"], expected.arrays["REF_charges"])


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("atom 2.0", "atom two", "line 4: expected 8 finite numbers"),
        ("atom 2.0", "atom nan", "line 4: expected 8 finite numbers"),
        (" H 1.1", " 1.1", "line 4: got .* expected x y z element"),
        (" H 1.1", " Hx 1.1", "line 4: got .* expected x y z element"),
        ("0.02\nenergy", "0.02 7\nenergy", "line 4: expected 8 finite numbers"),
        ("energy -38.5", "energy", "line 5: expected 1 finite numbers"),
        ("energy", "enthalpy", "line 5: 'enthalpy', expected comment, lattice"),
        ("end\n", "", "line 6: the file ends within a structure"),
        ("end\n", "end\nenergy 3\n", "line 8: 'energy' outside of a structure"),
        ("comment", "lattice 1 2 3\ncomment", "1 lattice vectors, expected"),
    ],
)
def test_mistakes_are_named_by_line(tmp_path, old, new, complaint):
    path = written(tmp_path, MOLECULE.replace(old, new))
    with pytest.raises(ValueError, match=complaint) as caught:
        read_frames(path)
    assert str(caught.value).startswith(f"{path}")


def test_a_structure_without_atoms_is_refused(tmp_path):
    with pytest.raises(ValueError, match="0 atoms"):
        read_frames(written(tmp_path, "begin\nenergy 1\nend\n"))


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the carbon chains beside the checkout")
def test_another_conversion_of_the_published_chains_agrees(tmp_path):
    """The first atom of the first frame of input.data in n2p2's example, and its energy and charges."""
    line = "atom 1.12551715164 -0.164013646023 -0.250275801259 C -0.00665098416667 0.0 "
    line += "0.0380419441343 0.00187349343501 0.00278662531528"
    (atoms,) = read_frames(written(tmp_path, f"begin\n{line}\nenergy -381.614393065\ncharge 1.0\nend\n"))
    others = [frame for name in ("train", "val") for frame in read_frames(SHARED / f"{name}.extxyz")]
    same = min(others, key=lambda frame: abs(frame.info["REF_energy"] - atoms.info["REF_energy"]))
    # other values of the constants change an energy of 1e4 eV by 1e-8 of it
    assert same.info["REF_energy"] == pytest.approx(atoms.info["REF_energy"], abs=2e-4)
    assert same.arrays["REF_charges"][0] == pytest.approx(-0.00665098, abs=1e-7)
    np.testing.assert_allclose(same.positions[0], atoms.positions[0], atol=1e-6)
    np.testing.assert_allclose(same.arrays["REF_forces"][0], atoms.arrays["REF_forces"][0], atol=1e-6)
