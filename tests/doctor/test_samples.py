import numpy as np
import pytest

from cace_qeq.doctor import samples
from cace_qeq.nn.elements import COVALENT_RADII

ELEMENTS = [[1], [47], [11, 17], [1, 6, 8, 11, 17, 47], list(range(1, 40))]


@pytest.mark.parametrize("species", ELEMENTS, ids=len)
def test_atoms_keep_their_distance_and_every_element_takes_part(species):
    for atoms in samples(species).values():
        distances = atoms.get_all_distances(mic=bool(atoms.pbc.any())) + 99 * np.eye(len(atoms))
        radii = np.array(COVALENT_RADII)[atoms.numbers]
        assert (distances / (radii[:, None] + radii)).min() > 0.75
        assert len(set(atoms.numbers)) == min(len(species), 8)


def test_boundaries_and_charges():
    found = samples([11, 17])
    assert {name: (atoms.info["charge"], int(atoms.pbc.sum())) for name, atoms in found.items()} == {
        "molecule": (0.0, 0),
        "charged molecule": (1.0, 0),
        "skewed crystal": (0.0, 3),
        "skewed slab": (0.0, 2),
    }
