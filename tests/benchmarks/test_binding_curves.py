"""Dimers get the cell and the charges of their calculation."""

import numpy as np
import pytest
from ase import Atoms

from binding_curves import BOX, by_distance, in_box


def ion_and_water(first: int, second: int) -> Atoms:
    """OH and water, with the charges that a file gives them."""
    atoms = Atoms("OHOH2", np.random.default_rng(0).normal(size=(5, 3)))
    atoms.info |= {"indexB": 2, "chargeA": first, "chargeB": second}
    return atoms


@pytest.mark.parametrize("written", [(-1, 0), (0, -1)])
def test_monomers_get_the_charges_that_close_their_shells(written):
    atoms = in_box(ion_and_water(*written))
    assert atoms.info["fragment_charges"].tolist() == [-1.0, 0.0]
    assert atoms.arrays["charge_fragment"].tolist() == [0, 0, 1, 1, 1]
    assert atoms.pbc.all() and atoms.cell.lengths() == pytest.approx(BOX)


def test_monomers_that_cannot_be_closed_shells_are_an_error():
    with pytest.raises(ValueError, match="even number of electrons"):
        in_box(ion_and_water(0, 0))


def test_the_longest_distances_of_each_dimer_are_held_out():
    frames = [Atoms("H", info={"label": label, "distance": d}) for label in "ab" for d in (5.0, 1.0, 4.0, 2.0, 3.0)]
    near, far = by_distance(frames)
    assert [sorted(f.info["distance"] for f in part) for part in (near, far)] == [[1, 1, 2, 2], [3, 3, 4, 4, 5, 5]]
