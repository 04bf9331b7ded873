"""Neighbour lists against a search through all images."""

import itertools

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

import zoo
from brute_force import bonds_of
from cace_qeq.allocation import in_whole_lines
from cace_qeq.neighbors import neighbor_pairs_and_distances, pairs_once
from cace_qeq.structures import Pairs, neighbor_pairs, padded_table

CUTOFFS = (3.0, 5.5)


def pairs_of(atoms: Atoms, cutoff: float) -> Pairs:
    return neighbor_pairs(atoms.positions, atoms.cell.array, atoms.pbc, cutoff)


def bonds(pairs: Pairs) -> list[tuple[int, ...]]:
    return torch.column_stack([pairs.center, pairs.neighbor, pairs.shift]).tolist()


@pytest.mark.parametrize("make", zoo.EVERYTHING.values(), ids=zoo.EVERYTHING)
def test_pairs_come_in_both_directions_sorted_by_center(make):
    pairs = pairs_of(make(), 5.5)
    found = {tuple(bond) for bond in bonds(pairs)}
    assert (pairs.center.diff() >= 0).all()
    assert {(b, a, -x, -y, -z) for a, b, x, y, z in found} == found


@pytest.mark.parametrize("make", zoo.EVERYTHING.values(), ids=zoo.EVERYTHING)
def test_the_nearest_of_each_center_come_first(make):
    atoms = make()
    pairs, distances = neighbor_pairs_and_distances(atoms.positions, atoms.cell.array, atoms.pbc, 5.5)
    cell = atoms.cell.array * atoms.pbc[:, None]
    apart = atoms.positions[pairs.neighbor] + pairs.shift.numpy() @ cell - atoms.positions[pairs.center]
    np.testing.assert_allclose(distances, np.linalg.norm(apart, axis=1), rtol=0, atol=1e-12)
    grows = np.diff(distances) > -1e-9
    assert (grows | (np.diff(pairs.center.numpy()) > 0)).all()


@pytest.mark.parametrize("make", zoo.EVERYTHING.values(), ids=zoo.EVERYTHING)
def test_pairs_once_are_half_of_all(make):
    atoms = make()
    pairs = pairs_once(atoms.positions, atoms.cell.array, atoms.pbc, 5.5)
    found = bonds(pairs)
    mirrored = [(b, a, -x, -y, -z) for a, b, x, y, z in found]
    assert sorted([*map(tuple, found), *mirrored]) == sorted(bonds_of(atoms, 5.5))
    assert (pairs.center.diff() >= 0).all()
    assert (pairs.center <= pairs.neighbor).all()


@pytest.mark.parametrize("cutoff", CUTOFFS)
@pytest.mark.parametrize("make", zoo.EVERYTHING.values(), ids=zoo.EVERYTHING)
def test_pairs_are_those_of_a_search_through_all_images(make, cutoff):
    atoms = make()
    found = bonds(pairs_of(atoms, cutoff))
    assert sorted(map(tuple, found)) == sorted(bonds_of(atoms, cutoff))


@pytest.mark.parametrize("pbc", list(itertools.product([False, True], repeat=3)))
@pytest.mark.parametrize("seed", range(6))
def test_pairs_in_random_cells_of_every_periodicity(pbc, seed):
    rng = np.random.default_rng(seed)
    cell = 3.0 * np.eye(3) + rng.uniform(-1.2, 1.2, size=(3, 3))
    if seed % 2:
        cell = cell[[1, 0, 2]]  # left-handed
    atoms = Atoms("H5", rng.uniform(-1.5, 1.5, size=(5, 3)) @ cell, cell=cell, pbc=pbc)
    assert sorted(map(tuple, bonds(pairs_of(atoms, 4.0)))) == sorted(bonds_of(atoms, 4.0))


@pytest.mark.parametrize("cell", [np.zeros((3, 3)), 0.1 * np.eye(3), 50 * np.eye(3)], ids=["none", "tiny", "large"])
def test_the_cell_of_a_molecule_is_ignored(cell):
    atoms = zoo.ethanol()
    atoms.positions += [100.0, -30.0, 7.0]
    expected = bonds(pairs_of(atoms, 3.0))
    atoms.set_cell(cell)
    assert bonds(pairs_of(atoms, 3.0)) == expected


@pytest.mark.parametrize("make", [zoo.slab, zoo.wire], ids=["slab", "wire"])
def test_the_open_vectors_of_the_cell_are_ignored(make):
    atoms = make()
    expected = bonds(pairs_of(atoms, 5.0))
    atoms.cell[~atoms.pbc] = np.random.default_rng(0).normal(size=(3 - atoms.pbc.sum(), 3))
    assert bonds(pairs_of(atoms, 5.0)) == expected


@pytest.mark.parametrize("make", zoo.EVERYTHING.values(), ids=zoo.EVERYTHING)
def test_the_table_holds_the_pairs_row_by_row(make):
    atoms = make()
    pairs = pairs_of(atoms, 4.0)
    table = padded_table(pairs, len(atoms))
    receiver = torch.arange(len(atoms)).unsqueeze(1).expand_as(table.index)
    columns = [receiver[table.mask], table.index[table.mask], table.shift[table.mask]]
    assert torch.column_stack(columns).tolist() == bonds(pairs)
    longest = int(table.mask.sum(dim=1).max())
    assert table.index.shape[1] == in_whole_lines(longest) <= 1.125 * longest


def test_padding_is_the_receiver_itself():
    atoms = zoo.ethanol()
    table = padded_table(pairs_of(atoms, 1.6), len(atoms))
    receiver = torch.arange(len(atoms)).unsqueeze(1).expand_as(table.index)
    assert (~table.mask).any()
    assert torch.equal(table.index[~table.mask], receiver[~table.mask])
    assert not table.shift[~table.mask].any()


def test_lonely_atoms_have_rows_of_no_width():
    table = padded_table(pairs_of(zoo.far_dimer(), 4.0), 2)
    assert table.index.shape == table.mask.shape == (2, 0)
    assert table.shift.shape == (2, 0, 3)


FAR = {"both open": [0.0, 2e4, 1e4], "one open": [4e5, 0.0, 0.0], "all open": [3e6, -2e6, 1e6]}


@pytest.mark.parametrize("far", FAR.values(), ids=FAR)
def test_fragments_far_apart_have_the_pairs_of_each(far):
    near, atoms = zoo.ethanol(), zoo.ethanol()
    moved = atoms.copy()
    moved.positions += far
    alone = bonds(pairs_of(near, 4.0))
    n = len(near)
    assert sorted(bonds(pairs_of(atoms + moved, 4.0))) == sorted(alone + [[a + n, b + n, *s] for a, b, *s in alone])


def test_an_atom_far_above_a_slab_has_no_neighbours_but_its_images():
    atoms = zoo.slab()
    expected = sorted(bonds(pairs_of(atoms, 4.0)))
    normal = np.linalg.svd(atoms.cell.array[atoms.pbc])[2][2]
    atoms += Atoms("H", [atoms.positions[0] + 1e6 * normal])
    last = len(atoms) - 1
    found = bonds(pairs_of(atoms, 4.0))
    assert sorted(bond for bond in found if last not in bond[:2]) == expected
    assert all(bond[0] == bond[1] for bond in found if last in bond[:2])


@pytest.mark.parametrize("pbc", [(True, True, True), (True, False, True), (False, True, False)])
def test_a_collapsed_cell_is_refused(pbc):
    """What a barostat gone wild leaves would take hours and all memory."""
    atoms = Atoms("H2", [[0, 0, 0], [0, 0, 1e-3]], cell=[2e-3, 3e-4, 2e-3], pbc=pbc)
    with pytest.raises(ValueError, match="the cell has collapsed or is in other units"):
        pairs_of(atoms, 5.0)


@pytest.mark.parametrize(("repeats", "pbc"), [((45, 45, 1), (0, 0, 1)), ((1, 1, 600), (1, 1, 0))])
def test_thick_wires_and_slabs_have_not_collapsed(repeats, pbc):
    atoms = bulk("Ag", "fcc", 4.09, cubic=True).repeat(repeats)
    atoms.pbc = pbc
    assert len(pairs_of(atoms, 6.0).center) > 50 * len(atoms)


def test_a_dense_crystal_has_not_collapsed_within_a_long_cutoff():
    """What Ewald sums of learned widths ask of diamond where the model knows sodium."""
    assert len(pairs_of(bulk("C"), 31.9).center) > 2 * 2e4


def test_a_structure_too_wide_and_flat_is_refused():
    atoms = Atoms("H2", [[0, 0, 0], [1.0, 0, 0]], cell=[3e3, 3e3, 3.0], pbc=True)
    with pytest.raises(ValueError, match="too wide and flat"):
        pairs_of(atoms, 5.0)
