"""Displacements, strain and movement of a batch."""

import numpy as np
import pytest
import torch

import zoo
from brute_force import bonds_of
from cace_qeq.structures import AtomicBatch, GeometrySettings, collate, to_batch
from cace_qeq.structures.batch import moved
from cace_qeq.structures.table import PADDING_DISTANCE

CUTOFF = 4.5


def batch_of(*structures) -> AtomicBatch:
    return collate([to_batch(atoms, GeometrySettings(CUTOFF), 0.0) for atoms in structures])


@pytest.mark.parametrize("make", zoo.EVERYTHING.values(), ids=zoo.EVERYTHING)
def test_displacements_are_those_of_a_search_through_all_images(make):
    atoms = make()
    batch = batch_of(atoms)
    found = batch.displacements()[batch.neighbors.mask].numpy()
    expected = [
        atoms.positions[b] - atoms.positions[a] + np.array(shift) @ atoms.cell.array
        for a, b, *shift in bonds_of(atoms, CUTOFF)
    ]
    expected = np.array(expected).reshape(-1, 3)
    ordered = [
        vectors[np.lexsort(vectors.round(6).T)] for vectors in (found, expected)
    ]  # whatever rounding makes of ties
    np.testing.assert_allclose(*ordered, atol=1e-12)


@pytest.mark.parametrize("make", zoo.SAME_CRYSTAL.values(), ids=zoo.SAME_CRYSTAL)
def test_distances_ignore_the_choice_of_cell_vectors(make):
    def distances(atoms):
        return batch_of(atoms).displacements().norm(dim=-1).sort(dim=1).values

    torch.testing.assert_close(distances(make()), distances(zoo.crystal()), rtol=0, atol=1e-12)


def test_padding_is_beyond_every_cutoff():
    batch = batch_of(*zoo.unequal())
    padding = batch.displacements()[~batch.neighbors.mask]
    assert (padding == PADDING_DISTANCE).all()


def test_strain_deforms_displacements_and_keeps_padding():
    batch = batch_of(*zoo.unequal())
    generator = torch.Generator().manual_seed(0)
    strain = 0.1 * torch.rand(batch.n_structures, 3, 3, generator=generator, dtype=torch.float64)
    strained = batch.strained(strain)
    deformation = torch.eye(3, dtype=torch.float64) + strain
    expected = torch.einsum("akx,axy->aky", batch.displacements(), deformation[batch.structure])
    mask = batch.neighbors.mask
    torch.testing.assert_close(strained.displacements()[mask], expected[mask], rtol=0, atol=1e-12)
    assert torch.equal(strained.displacements()[~mask], batch.displacements()[~mask])
    torch.testing.assert_close(strained.volumes, batch.volumes * torch.linalg.det(deformation).abs())


def test_volumes_are_positive_for_crystals_and_zero_without_three_periodic_directions():
    batch = batch_of(zoo.left_handed(), zoo.boxed_molecule(), zoo.slab(), zoo.crystal())
    volume = zoo.crystal().get_volume()
    torch.testing.assert_close(batch.volumes, torch.tensor([volume, 0.0, 0.0, volume], dtype=torch.float64))


def test_moving_reaches_every_tensor():
    batch = batch_of(*zoo.unequal()).to("meta")
    assert batch.positions.device.type == "meta"
    assert batch.neighbors.mask.device.type == "meta"
    assert batch.ewald.pairs.shift.device.type == "meta"


def test_moving_leaves_other_values_alone():
    assert moved(GeometrySettings(4.0), "meta") == GeometrySettings(4.0)
