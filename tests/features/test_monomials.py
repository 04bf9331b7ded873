import numpy as np
import pytest
import torch

from cace_qeq.features import (
    degrees,
    independent_exponents,
    independent_monomials,
    monomial_exponents,
    monomials,
    n_monomials,
    restoration,
)
from cace_qeq.features.monomials import multiplicity


def directions(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    vectors = torch.randn(*shape, 3, dtype=torch.float64, generator=generator)
    return vectors / vectors.norm(dim=-1, keepdim=True)


def test_exponents_are_in_the_documented_order():
    assert monomial_exponents(2) == (
        (0, 0, 0),
        *((1, 0, 0), (0, 1, 0), (0, 0, 1)),
        *((2, 0, 0), (1, 1, 0), (1, 0, 1), (0, 2, 0), (0, 1, 1), (0, 0, 2)),
    )
    assert n_monomials(3) == len(monomial_exponents(3)) == 20
    assert degrees(2) == (0, 1, 1, 1, 2, 2, 2, 2, 2, 2)


@pytest.mark.parametrize("l_max", [0, 1, 3, 5])
def test_monomials_are_powers_of_the_components(l_max):
    direction = directions(4, 7)
    powers = direction.numpy()[..., None, :] ** np.array(monomial_exponents(l_max))
    expected = torch.from_numpy(np.prod(powers, axis=-1))
    torch.testing.assert_close(monomials(direction, l_max), expected, rtol=1e-14, atol=1e-15)


def test_weighted_monomials_give_powers_of_the_dot_product():
    first, second = directions(6), directions(12)[6:]
    products = monomials(first, 4) * monomials(second, 4)
    for degree in range(5):
        columns = [column for column, d in enumerate(degrees(4)) if d == degree]
        weights = torch.tensor([multiplicity(monomial_exponents(4)[column]) for column in columns])
        power = (products[:, columns] * weights).sum(dim=1)
        torch.testing.assert_close(power, (first * second).sum(dim=1) ** degree, rtol=0, atol=1e-14)


def test_first_and_second_derivatives():
    direction = directions(3).requires_grad_()
    assert torch.autograd.gradcheck(lambda u: monomials(u, 3), direction)
    assert torch.autograd.gradgradcheck(lambda u: monomials(u, 3), direction)


@pytest.mark.parametrize("l_max", [0, 3])
def test_components_along_another_axis(l_max):
    vectors = directions(5, 8)
    assert torch.equal(monomials(vectors.transpose(1, 2), l_max, dim=1), monomials(vectors, l_max).transpose(1, 2))


@pytest.mark.parametrize("l_max", [0, 1, 2, 5])
def test_independent_monomials_give_all_of_them_on_the_sphere(l_max):
    direction = torch.nn.functional.normalize(torch.randn(20, 3, dtype=torch.float64), dim=1)
    independent = independent_monomials(direction, l_max)
    powers = direction.numpy()[:, None, :] ** np.array(independent_exponents(l_max))
    torch.testing.assert_close(independent, torch.from_numpy(powers.prod(-1)), rtol=1e-14, atol=1e-15)
    restored = independent @ torch.from_numpy(restoration(l_max)).T
    torch.testing.assert_close(restored, monomials(direction, l_max), rtol=1e-12, atol=1e-14)
    assert len(independent_exponents(l_max)) == (l_max + 1) ** 2
