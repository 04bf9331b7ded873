from ase import Atoms
from ase.io import write

from cace_qeq.benchmark.comparison import symbols


def test_elements_of_all_frames_by_atomic_number(tmp_path):
    paths = [tmp_path / "a.extxyz", tmp_path / "b.extxyz"]
    for path, formulas in zip(paths, (("OH2", "NaCl"), ("AgO",)), strict=True):
        write(path, [Atoms(formula, positions=[[0, 0, z] for z in range(len(Atoms(formula)))]) for formula in formulas])
    assert symbols(list(map(str, paths))) == ["H", "O", "Na", "Cl", "Ag"]
