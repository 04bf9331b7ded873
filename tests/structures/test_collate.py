"""Batches of several structures against the structures one by one."""

import pytest
import torch

import zoo
from cace_qeq.structures import (
    AtomicBatch,
    GeometrySettings,
    LabelKeys,
    Labels,
    collate,
    collate_labels,
    labels_of,
    to_batch,
)

SETTINGS = GeometrySettings(cutoff=4.0, largest_width=0.8, accuracy=1e-6)


@pytest.fixture(scope="module")
def singles() -> list[AtomicBatch]:
    return [to_batch(atoms, SETTINGS, atoms.info["total_charge"]) for atoms in zoo.unequal()]


@pytest.fixture(scope="module")
def batch(singles) -> AtomicBatch:
    return collate(singles)


def test_every_structure_keeps_its_atoms(singles, batch):
    assert (batch.n_atoms, batch.n_structures) == (sum(one.n_atoms for one in singles), len(singles))
    for index, one in enumerate(singles):
        chosen = batch.structure == index
        for name in ("positions", "numbers", "masses"):
            assert torch.equal(getattr(batch, name)[chosen], getattr(one, name))
        for name in ("cells", "pbc", "total_charge"):
            assert torch.equal(getattr(batch, name)[index], getattr(one, name)[0])


def test_every_atom_keeps_its_neighbours(singles, batch):
    first = 0
    displacements = batch.displacements()
    for one in singles:
        rows, mask = slice(first, first + one.n_atoms), one.neighbors.mask
        width = mask.shape[1]
        assert torch.equal(batch.neighbors.mask[rows, :width], mask)
        assert not batch.neighbors.mask[rows, width:].any()
        assert torch.equal(displacements[rows, :width], one.displacements())
        assert torch.equal(batch.neighbors.index[rows, :width], one.neighbors.index + first)
        first += one.n_atoms


def test_padding_is_the_receiver_itself(batch):
    padding = ~batch.neighbors.mask
    receiver = torch.arange(batch.n_atoms).unsqueeze(1).expand_as(padding)
    assert torch.equal(batch.neighbors.index[padding], receiver[padding])
    assert not batch.neighbors.shift[padding].any()


def test_ewald_pairs_stay_inside_their_structure_and_sorted(singles, batch):
    pairs = batch.ewald.pairs
    assert (pairs.center.diff() >= 0).all()
    assert torch.equal(batch.structure[pairs.center], batch.structure[pairs.neighbor])
    counts = torch.bincount(batch.structure[pairs.center], minlength=len(singles))
    assert counts.tolist() == [len(one.ewald.pairs.center) for one in singles]


def test_triplets_are_padded_with_rows_of_zeros(singles, batch):
    for rows, one in zip(batch.ewald.triplets, singles, strict=True):
        width = one.ewald.triplets.shape[1]
        assert torch.equal(rows[:width], one.ewald.triplets[0])
        assert not rows[width:].any()
    assert torch.equal(batch.ewald.split, torch.cat([one.ewald.split for one in singles]))


def test_batches_of_batches_are_batches(singles, batch):
    nested = collate([collate(singles[:2]), collate(singles[2:3]), collate(singles[3:])])
    assert torch.equal(nested.structure, batch.structure)
    assert torch.equal(nested.displacements(), batch.displacements())
    assert torch.equal(nested.ewald.triplets, batch.ewald.triplets)
    assert torch.equal(nested.ewald.pairs.center, batch.ewald.pairs.center)


def test_labels_follow_one_another():
    frames = [zoo.water(), zoo.dimer()]
    frames[0].info["REF_energy"] = -3.5
    frames[1].arrays["REF_forces"] = frames[1].positions
    labels = collate_labels([labels_of(atoms, LabelKeys()) for atoms in frames])
    assert isinstance(labels, Labels)
    assert labels.energy[0] == -3.5
    assert labels.energy[1].isnan()
    assert labels.forces[:3].isnan().all()
    assert torch.equal(labels.forces[3:], torch.from_numpy(frames[1].positions))
    assert labels.stress.shape == (2, 3, 3)
    assert labels.charges.shape == (5,)


def test_nothing_cannot_be_collated():
    with pytest.raises(ValueError, match="empty list of batches"):
        collate([])


def test_structures_without_neighbours_can_be_collated():
    batch = collate([to_batch(zoo.far_dimer(), SETTINGS, 0.0)] * 2)
    assert batch.displacements().shape == (4, 0, 3)


def test_batches_for_different_models_cannot_be_collated(singles):
    other = to_batch(zoo.far_dimer(), GeometrySettings(cutoff=5.0), 0.0)
    with pytest.raises(ValueError, match=r"different models, with .*cutoff=4.0.* and with .*cutoff=5.0"):
        collate([*singles, other])
