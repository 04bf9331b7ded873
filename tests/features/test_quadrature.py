"""Products on the sphere: exact where promised, equal to contraction graphs, refused where not exact."""

import numpy as np
import pytest
import torch
from torch import Tensor

from all_derivatives import derivatives, random
from cace_qeq.features import Couplings, harmonics, independent_monomials, monomials, sphere_products
from cace_qeq.features.harmonics import sphere_mean
from cace_qeq.features.quadrature import LEBEDEV_DEGREES, SphereProducts, sphere_rule


@pytest.mark.parametrize("degree", LEBEDEV_DEGREES)
def test_rule_is_exact_to_its_degree(degree):
    rule = sphere_rule(degree)
    x, y, z = rule.points.T
    powers = [(i, j, k) for i in range(0, degree, 4) for j in range(0, degree - i, 3) for k in [degree - i - j]]
    powers += [(i, j, k - 1) for i, j, k in powers if k]
    numbers = [(rule.weights * x**i * y**j * z**k).sum() for i, j, k in powers]
    np.testing.assert_allclose(numbers, [sphere_mean(p) for p in powers], atol=1e-14)


def test_lowest_sufficient_rule_is_taken():
    assert [sphere_rule(degree).degree for degree in (3, 4, 10, 13)] == [3, 5, 11, 13]


def test_degree_beyond_the_tables_is_refused():
    with pytest.raises(ValueError, match="47 is the largest"):
        sphere_rule(48)


@pytest.mark.parametrize(("l_max", "order", "rank"), [(3, 3, 1), (2, 4, 2), (4, 2, 3)])
def test_under_sampled_quadrature_is_refused(l_max, order, rank):
    needed = l_max * order + rank
    with pytest.raises(ValueError, match=f"takes degree {needed}"):
        sphere_products(l_max, order, rank, degree=needed - 1)
    sphere_products(l_max, order, rank, degree=needed)


def random_density(l_max: int, seed: int) -> tuple[Tensor, Tensor]:
    """Packed moments (monomial,) and harmonic components of one density."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.nn.functional.normalize(torch.randn(5, 3, dtype=torch.float64, generator=generator), dim=1)
    weights = torch.randn(5, 1, dtype=torch.float64, generator=generator)
    components = harmonics(independent_monomials(directions, l_max), l_max)
    return (weights * monomials(directions, l_max)).sum(0), (weights * components).sum(0)


@pytest.mark.parametrize("rank", [0, 1, 3])
def test_any_sufficient_rule_gives_the_same(rank):
    components = random_density(3, seed=2)[1]
    results = []
    for degree in (9 + rank, 20, 35):
        tables = sphere_products(3, 3, rank, degree)
        results.append(tables(components.unsqueeze(1)))
    for other in results[1:]:
        torch.testing.assert_close(other, results[0], rtol=1e-12, atol=1e-12)


def test_projection_of_a_polynomial_is_itself():
    components = random_density(3, seed=3)[1]
    tables = sphere_products(3, 1, 3)
    torch.testing.assert_close(tables.projection @ (tables.evaluation @ components), components)


@pytest.mark.parametrize("order", [2, 3, 4])
def test_means_of_powers_are_contractions(order):
    """The mean of f^ν over the sphere is a polynomial in the complete set of contraction graphs.

    Fitted on 400 densities, it predicts 100 others: products of graphs of total order ν and lower, l_max 2.
    """
    l_max, samples = 2, 500
    tables = sphere_products(l_max, order, 0)
    couplings = Couplings(l_max, order)
    densities = [random_density(l_max, seed) for seed in range(samples)]
    packed, components = (torch.stack(parts) for parts in zip(*densities, strict=True))
    means = tables(components.T)[-1, 0]
    graphs = couplings(packed.unsqueeze(-1))[..., 0]
    columns = products_of_order(graphs, [int(label[2]) for label in couplings.labels], order)
    scale = columns.abs().mean(0)
    solution = torch.linalg.lstsq(columns[:400] / scale, means[:400].unsqueeze(1), driver="gelsd").solution
    torch.testing.assert_close((columns[400:] / scale) @ solution[:, 0], means[400:], rtol=1e-8, atol=1e-8)


def products_of_order(invariants: Tensor, orders: list[int], total: int) -> Tensor:
    """All products of invariants whose orders add up to `total`.  (sample, product)"""

    def extended(value: Tensor, first: int, left: int) -> list[Tensor]:
        if left == 0:
            return [value]
        usable = [i for i in range(first, len(orders)) if orders[i] <= left]
        return [term for i in usable for term in extended(value * invariants[:, i], i, left - orders[i])]

    return torch.stack(extended(torch.ones_like(invariants[:, 0]), 0, total), dim=1)


@pytest.mark.parametrize(("order", "rank"), [(1, 1), (3, 0), (4, 2)])
def test_derivatives_equal_those_of_autograd(order, rank, monkeypatch):
    monkeypatch.setattr(SphereProducts, "block_columns", 2)  # several blocks, the last one incomplete
    tables = sphere_products(2, order, rank)

    def plain(harmonic: Tensor) -> Tensor:
        values = tables.evaluation @ harmonic
        powers = [tables.projection @ values**power for power in range(2, order + 1)]
        return torch.stack([harmonic[: len(tables.projection)], *powers])

    harmonic = random(9, 5, seed=7)
    for found, expected in zip(derivatives(tables, harmonic), derivatives(plain, harmonic), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-12 * expected.abs().max().item())
