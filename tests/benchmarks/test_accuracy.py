"""What accuracy asks beside errors."""

import pytest
from ase import Atoms

from accuracy import lonely_hydrogen


@pytest.mark.parametrize("name", ["neutral", "ion"])
def test_the_lonely_hydrogen_is_far_from_the_proton(name):
    heights = [0.0, 1.2, 2.4, 3.5]
    protons = [[0.9, 0, -0.5], [-0.9, 0, -0.5]] if name == "ion" else [[0, 0, -1.06]]
    positions = [*([0, 0, z] for z in heights), *protons]
    atoms = Atoms(["C", "C", "C", "H", *["H"] * len(protons)], positions)
    assert lonely_hydrogen(atoms) == 3
