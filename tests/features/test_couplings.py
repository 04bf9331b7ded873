from collections import Counter
from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from cace_qeq.features import Couplings, degrees, monomial_exponents, monomials, n_monomials
from cace_qeq.features.couplings import Span, graph_value, independent_graphs, selected_graphs
from cace_qeq.features.graphs import Graph, contraction_graphs, edges, ranks


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def environment_moments(vectors: Tensor, weights: Tensor, l_max: int) -> Tensor:
    """(1, monomial, channel) moments of vectors (neighbour, 3) with weights (neighbour, rank, channel)."""
    each = weights[:, list(degrees(l_max))] * monomials(vectors, l_max).unsqueeze(-1)
    return each.sum(dim=0, keepdim=True)


def rotation(seed: int, reflected: bool) -> Tensor:
    orthogonal, _ = torch.linalg.qr(random(3, 3, seed=seed))
    sign = -1.0 if reflected else 1.0
    return orthogonal * torch.det(orthogonal) * sign


def dense_einsum(graph: Graph, moments: Tensor) -> Tensor:
    """(atom, channel) contraction of full 3^l tensors, one letter for each single index."""
    letters, equation = iter("ijklmnopqrstuvwxyz"), [""] * len(graph)
    for first, second, multiplicity in edges(graph):
        for _ in range(multiplicity):
            letter = next(letters)
            equation[first] += letter
            equation[second] += letter
    tensors = [dense(moments, rank) for rank in ranks(graph)]
    return torch.einsum(",".join("AC" + indices for indices in equation) + "->AC", *tensors)


def dense(moments: Tensor, rank: int) -> Tensor:
    row = {exponents: place for place, exponents in enumerate(monomial_exponents(rank))}
    components = [row[tuple(map(index.count, range(3)))] for index in product(range(3), repeat=rank)]
    n_atoms, _, n_channels = moments.shape
    return moments[:, components].movedim(1, -1).reshape(n_atoms, n_channels, *[3] * rank)


@pytest.mark.parametrize(("l_max", "body_order"), [(3, 4), (4, 4), (2, 5), (6, 3), (6, 4)])
@pytest.mark.parametrize("reflected", [False, True])
def test_rotations_and_reflections_change_nothing(l_max, body_order, reflected):
    vectors, weights = random(9, 3), random(9, l_max + 1, 2, seed=1) / 3
    couplings = Couplings(l_max, body_order)
    vectors = vectors / vectors.norm(dim=1, keepdim=True)
    turned = environment_moments(vectors @ rotation(2, reflected).T, weights, l_max)
    expected = couplings(environment_moments(vectors, weights, l_max))
    scale = expected.abs().max().item()
    torch.testing.assert_close(couplings(turned), expected, rtol=1e-12, atol=1e-12 * scale)


def test_the_order_of_neighbours_does_not_matter():
    vectors, weights, order = random(9, 3), random(9, 4, 2, seed=1), torch.arange(9).flip(0)
    couplings = Couplings(3, 4)
    expected = couplings(environment_moments(vectors, weights, 3))
    permuted = couplings(environment_moments(vectors[order], weights[order], 3))
    torch.testing.assert_close(permuted, expected, rtol=1e-12, atol=1e-12 * expected.abs().max().item())


@pytest.mark.parametrize(("l_max", "counts"), [(3, [3, 4, 9]), (4, [4, 9, 27])])
def test_number_of_independent_graphs(l_max, counts):
    assert [len(independent_graphs(l_max, order)) for order in (2, 3, 4)] == counts


def test_dropped_graphs_are_combinations_of_kept_invariants():
    """For one radial function the trace of A_l is A_(l-2), and what is dropped adds nothing."""
    vectors = random(300, 12, 3, seed=3)
    angular = monomials(vectors / vectors.norm(dim=-1, keepdim=True), 3)
    moments = (angular * random(300, 12, 1, seed=4)).sum(dim=1)
    kept = Couplings(3, 4)(moments.unsqueeze(-1)).squeeze(-1)
    columns = products_of_order(kept, [int(label[2]) for label in Couplings(3, 4).labels], 4)
    for graph in contraction_graphs(3, 4):
        value = torch.from_numpy(graph_value(graph, moments.numpy()))
        fit = columns @ torch.linalg.lstsq(columns, value.unsqueeze(1), driver="gelsd").solution
        # 28 columns of very different size through a least squares fit
        assert (fit.squeeze(1) - value).norm() < 1e-9 * value.norm()


def products_of_order(invariants: Tensor, orders: list[int], total: int, first: int = 0) -> Tensor:
    """(sample, product) every product of invariants whose orders add up to the total."""
    if total == 0:
        return torch.ones(len(invariants), 1, dtype=invariants.dtype)
    parts = [
        invariants[:, [index]] * products_of_order(invariants, orders, total - orders[index], index)
        for index in range(first, len(orders))
        if orders[index] <= total
    ]
    return torch.cat([invariants[:, :0], *parts], dim=1)


@pytest.mark.parametrize(("l_max", "largest"), [(2, 5), (3, 5), (4, 4)])
def test_invariants_are_complete(l_max, largest):
    """Products of the invariants number as many as group theory has invariants of the same order."""
    orders = [int(label[2]) for label in Couplings(l_max, largest).labels]
    for total in range(1, largest + 1):
        n_products = products_of_order(torch.ones(1, len(orders)), orders, total).shape[1]
        assert n_products == number_of_invariants(l_max, total)


@pytest.mark.parametrize(("l_max", "largest"), [(4, 5), (5, 5), (6, 4)])
def test_large_sets_are_complete(l_max, largest):
    """The same count, of the chosen graphs by their generating function: Π 1/(1 - x^order)."""
    products = [1] + [0] * largest
    for order in (1, *map(len, selected_graphs(l_max, largest, "complete"))):
        for total in range(order, largest + 1):
            products[total] += products[total - order]
    assert products[1:] == [number_of_invariants(l_max, total) for total in range(1, largest + 1)]


def test_more_invariants_than_samples_are_refused():
    span = Span()
    assert all(span.grows_by(column) for column in np.eye(3))
    with pytest.raises(ValueError, match="3 invariants of one set of ranks"):
        span.grows_by(np.ones(3))


def number_of_invariants(l_max: int, order: int) -> int:
    """Multiplicity of the trivial representation of O(3) in a symmetric power of the ranks 0..l_max (Molien).

    The average over rotation angles of the complete symmetric polynomial of the eigenvalues, obtained from
    the characters of the powers of a rotation by Newton's recurrence; half of it from improper rotations.
    """
    angle = (torch.arange(64, dtype=torch.float64) + 0.5) * torch.pi / 64  # exact for cosines up to 2 * 64
    mean = torch.zeros(())
    for sign in (1, -1):
        power_sums = [
            sum(sign ** (rank * k) * (1 + 2 * cosines(angle * k, rank)) for rank in range(l_max + 1))
            for k in range(1, order + 1)
        ]
        symmetric = [torch.ones_like(angle)]
        for n in range(1, order + 1):
            symmetric.append(sum(power_sums[k] * symmetric[n - 1 - k] for k in range(n)) / n)
        mean = mean + ((1 - angle.cos()) * symmetric[order]).mean() / 2
    assert abs(mean - mean.round()) < 1e-9
    return int(mean.round())


def cosines(angle: Tensor, rank: int) -> Tensor:
    return sum((torch.cos(m * angle) for m in range(1, rank + 1)), torch.zeros_like(angle))


@pytest.mark.parametrize(("l_max", "order"), [(3, 2), (3, 3), (3, 4), (4, 3), (4, 4), (3, 5)])
def test_every_graph_equals_the_einsum_of_dense_tensors(l_max, order):
    couplings = Couplings(l_max, order)
    moments = random(3, n_monomials(l_max), 2, seed=5)
    values = couplings(moments)
    for index, graph in enumerate(couplings.graphs, start=1):
        torch.testing.assert_close(values[:, index], dense_einsum(graph, moments), rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(values[:, 0], moments[:, 0], rtol=0, atol=0)


@pytest.mark.parametrize("order", [2, 3, 4])
def test_packed_values_of_the_rank_check_equal_the_einsum_of_dense_tensors(order):
    moments = random(4, n_monomials(4), 1, seed=6)
    for graph in contraction_graphs(4, order):
        value = torch.from_numpy(graph_value(graph, moments.squeeze(-1).numpy()))
        torch.testing.assert_close(value, dense_einsum(graph, moments).squeeze(-1), rtol=1e-11, atol=1e-11)


def test_channels_do_not_mix():
    couplings, moments = Couplings(3, 4), random(2, 20, 3)
    changed = moments.clone()
    changed[:, :, 1] = 0.0
    others = couplings(changed)[..., [0, 2]]
    torch.testing.assert_close(others, couplings(moments)[..., [0, 2]], rtol=0, atol=0)


def test_labels_number_the_orders():
    couplings = Couplings(3, 4)
    assert Counter(label.split()[0] for label in couplings.labels) == {"nu1": 1, "nu2": 3, "nu3": 4, "nu4": 9}
    assert couplings.n_invariants == len(couplings.labels) == couplings(random(1, 20, 1)).shape[1]


def test_single_precision_agrees_with_double():
    couplings, moments = Couplings(3, 4), random(50, 20, 4)
    expected = couplings(moments)
    scale = expected.abs().amax(dim=(0, 2), keepdim=True)
    single = couplings(moments.float())
    assert single.dtype == torch.float32
    assert ((single - expected) / scale).abs().max() < 1e-5  # sums of a few hundred products, 6e-8 each


@pytest.mark.parametrize("l_max", [0, 1])
def test_low_ranks(l_max):
    couplings, moments = Couplings(l_max, 3), random(2, n_monomials(l_max), 2)
    expected = [moments[:, 0]] + ([(moments[:, 1:] ** 2).sum(dim=1)] if l_max else [])
    torch.testing.assert_close(couplings(moments), torch.stack(expected, dim=1), rtol=1e-14, atol=0)


def test_wrong_arguments_say_what_was_expected():
    with pytest.raises(ValueError, match="expected 20 monomials for l_max=3"):
        Couplings(3, 2)(random(4, 10, 2))
    with pytest.raises(ValueError, match="kind to be one of"):
        Couplings(3, 2, kind="chains")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="body_order >= 1"):
        Couplings(3, 0)
