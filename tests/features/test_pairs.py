"""The table of pair functions and its derivatives to third order against the functions that it is made of."""

import pytest
import torch
from torch import Tensor

from all_derivatives import derivatives
from cace_qeq.features import PairFunctions, bessel_basis, harmonics, independent_monomials, polynomial_envelope
from cace_qeq.features.angular import angular_harmonics, angular_monomials
from cace_qeq.features.densities import Block
from cace_qeq.features.radial import radial_functions

CUTOFF = 5.5
N_RADIAL = 6
KIND = (torch.float64, torch.device("cpu"))
BLOCKS = (Block(0, 2, 5), Block(2, 4, 3), Block(4, 7, 5))


def monomial_table(l_max: int, blocks: tuple[Block, ...] = BLOCKS) -> PairFunctions:
    return PairFunctions(radial_functions(CUTOFF, N_RADIAL, False, *KIND), angular_monomials(l_max, *KIND), blocks)


def harmonic_table(l_max: int) -> PairFunctions:
    return PairFunctions(radial_functions(CUTOFF, N_RADIAL, True, *KIND), angular_harmonics(l_max, *KIND), BLOCKS)


def plain_monomials(vectors: Tensor, l_max: int) -> Tensor:
    distance = vectors.square().sum(1).sqrt()
    radial = bessel_basis(distance, CUTOFF, N_RADIAL) * polynomial_envelope(distance, CUTOFF).unsqueeze(-1)
    angular = independent_monomials((vectors / distance.unsqueeze(1)).transpose(1, 2), l_max)
    return torch.cat([radial, angular], dim=2).transpose(1, 2)


def plain_harmonics(vectors: Tensor, l_max: int) -> Tensor:
    radial, monomials = plain_monomials(vectors, l_max).tensor_split([N_RADIAL], dim=1)
    order = torch.arange(1, N_RADIAL + 1).unsqueeze(1)
    return torch.cat([radial / order, harmonics(monomials.transpose(1, 2), l_max).transpose(1, 2)], dim=1)


def vectors_with_padding() -> Tensor:
    vectors = 2 * torch.randn(7, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    vectors[2:4, :, 3:] = torch.tensor([1000.0, 0.0, 0.0], dtype=torch.float64).unsqueeze(1)
    return vectors.requires_grad_()


def without_padding(table: Tensor) -> Tensor:
    return torch.cat([table[:2].flatten(), table[2:4, :, :3].flatten(), table[4:].flatten()])


@pytest.mark.parametrize("l_max", [0, 1, 3, 6])
@pytest.mark.parametrize(
    ("table", "plain"), [(monomial_table, plain_monomials), (harmonic_table, plain_harmonics)], ids=["xyz", "harmonic"]
)
def test_derivatives_equal_those_of_autograd(table, plain, l_max):
    functions, vectors = table(l_max), vectors_with_padding()
    found = derivatives(lambda v: without_padding(functions(v)), vectors)
    expected = derivatives(lambda v: without_padding(plain(v, l_max)), vectors)
    for value, reference in zip(found, expected, strict=True):
        scale = reference.abs().max().item()
        torch.testing.assert_close(value, reference, rtol=1e-10, atol=1e-12 * scale)


def test_one_block_gives_what_several_give():
    vectors = vectors_with_padding().detach()
    whole, parts = monomial_table(3, (Block(0, 7, 5),)), monomial_table(3, (Block(0, 3, 5), Block(3, 7, 5)))
    assert torch.equal(whole(vectors), parts(vectors))
