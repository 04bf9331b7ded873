import numpy as np
import pytest
import torch
from ase import Atoms

from cace_qeq.structures import GeometrySettings, LabelKeys, labels_of
from cace_qeq.training.baseline import composition, energies_of_atoms, fitted_energies, force_scale, isolated_energies
from cace_qeq.training.data import Frame, example_of

NAN = torch.nan
ONES = torch.ones(2, dtype=torch.float64)


def example(numbers, energy, forces=None, charge=0.0, box=0.0):
    """Atoms in a row, 1.2 Å apart, in a cube if it has an edge (Å)."""
    atoms = Atoms(numbers, [(1.2 * i, 0, 0) for i in range(len(numbers))], cell=3 * [box], pbc=box > 0)
    atoms.info |= {"REF_energy": energy, "charge": charge}
    if forces is not None:
        atoms.arrays["REF_forces"] = np.array(forces)
    return example_of(Frame(atoms, labels_of(atoms, LabelKeys())), GeometrySettings(cutoff=4.0), LabelKeys(), None)


def test_energies_of_the_elements_are_recovered():
    energies = torch.tensor([-80.0 - 2 * 13.0, -160.0, NAN]).double()
    examples = [example([1, 1, 8], 0.0), example([8, 8], 0.0), example([1, 8], 0.0)]
    found = fitted_energies(energies, composition(examples, (1, 8)), torch.ones(3).double())
    torch.testing.assert_close(found, torch.tensor([-13.0, -80.0]).double())


def test_collinear_compositions_share_the_energy():
    # H2O and its dimer do not tell the elements apart; the smallest solution is along (2, 1)
    found = fitted_energies(
        torch.tensor([-90.0, -180.0]).double(), torch.tensor([[2.0, 1.0], [4.0, 2.0]]).double(), ONES
    )
    torch.testing.assert_close(found, torch.tensor([-36.0, -18.0]).double())


def test_energies_count_as_they_weigh():
    energies, counts = torch.tensor([-10.0, 1000.0]).double(), torch.ones(2, 1).double()
    assert float(fitted_energies(energies, counts, ONES)) == pytest.approx(495)
    assert float(fitted_energies(energies, counts, torch.tensor([1.0, 1e-9]).double())) == pytest.approx(-10, abs=1e-4)


def test_without_energies_the_baseline_is_zero():
    assert fitted_energies(torch.tensor([NAN]).double(), ONES[:1, None], ONES[:1]).tolist() == [0.0]


def test_isolated_atoms_come_in_the_order_of_the_species():
    assert isolated_energies({"O": -75.0, "H": -13.6}, (1, 8)).tolist() == [-13.6, -75.0]


def test_energies_of_atoms_are_the_lowest_of_neutral_ones():
    atoms = [example([8], -74.0), example([8], -75.0), example([8], -76.0, charge=-1.0), example([1], -13.6)]
    assert energies_of_atoms([example([1, 8], -90.0), *atoms], (1, 8)).tolist() == [-13.6, -75.0]
    with pytest.raises(ValueError, match="no training frame is a neutral atom of H, C without neighbours"):
        energies_of_atoms(atoms[:3], (1, 6, 8))


def test_an_atom_alone_in_a_large_cell_is_isolated_and_one_in_a_crystal_is_not():
    atoms = [example([8], -75.0, box=12.0), example([8], -80.0, box=2.5)]
    assert energies_of_atoms(atoms, (8,)).tolist() == [-75.0]


def test_elements_are_named_by_symbol_or_number():
    assert isolated_energies({"8": -2.0, "H": -1.0}, (1, 8)).tolist() == [-1.0, -2.0]


@pytest.mark.parametrize(
    ("energies", "message"),
    [({"H": -13.6}, r"no energy for atomic numbers \[8\]"), ({"Hx": 1.0}, "'Hx' is not")],
)
def test_isolated_atoms_must_cover_the_species(energies, message):
    with pytest.raises(ValueError, match=message):
        isolated_energies(energies, (1, 8))


def test_force_scale_is_the_root_mean_square_of_what_is_labelled():
    labelled = example([1, 1], 0.0, [[3.0, 0, 0], [0, -3.0, 0]])
    missing = example([1], 0.0)
    assert force_scale([labelled, missing]) == pytest.approx(3.0**0.5)
    assert force_scale([missing]) == 1.0
