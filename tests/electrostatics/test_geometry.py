import torch

from charged_structures import crystal, geometry_of, joined, molecule

SIZES = [5, 3, 6]


def batch():
    return joined([geometry_of(molecule(5)), geometry_of(molecule(3)), geometry_of(crystal(6))])


def test_padding_and_back_is_the_identity():
    geometry = batch()
    values = torch.arange(14, dtype=torch.float64)
    table = geometry.padded(values, -1.0)
    assert table.shape == (3, 6)
    assert table[~geometry.occupied].tolist() == [-1.0] * 4
    assert torch.equal(geometry.unpadded(table), values)
    assert geometry.occupied.sum(1).tolist() == SIZES


def test_equal_sizes_need_no_copy():
    geometry = joined([geometry_of(molecule(4, seed=seed)) for seed in (1, 2)])
    padded = geometry.padded(geometry.positions, 0.0)
    assert padded.shape == (2, 4, 3)
    assert padded.data_ptr() == geometry.positions.data_ptr()


def test_sums_belong_to_structures():
    assert batch().summed(torch.ones(14, dtype=torch.float64)).tolist() == SIZES
