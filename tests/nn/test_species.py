import pytest
import torch

from cace_qeq.nn.species import SpeciesIndex


def test_index_follows_the_order_of_the_list():
    index = SpeciesIndex([8, 1, 47])
    assert index(torch.tensor([1, 1, 47, 8])).tolist() == [1, 1, 2, 0]


@pytest.mark.parametrize("number", [2, 92])
def test_unknown_element_is_named(number):
    with pytest.raises(ValueError, match=rf"atom 1 .* atomic number {number}"):
        SpeciesIndex([1, 8])(torch.tensor([1, number]))
