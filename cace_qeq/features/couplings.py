"""Invariants of any body order: contraction graphs, chosen and compiled once, applied to packed moments."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from itertools import product
from typing import Literal

import numpy as np
import opt_einsum
from numpy.typing import NDArray
from torch import Tensor

from cace_qeq.features.columns import evaluated
from cace_qeq.features.graphs import Graph, contraction_graphs, edges, label, path_graphs, ranks
from cace_qeq.features.monomials import degrees, monomial_exponents, multiplicity, n_monomials, rank_exponents
from cace_qeq.features.products import ProductProgram
from cace_qeq.features.program import Program, added

Kind = Literal["complete", "paths"]
Floats = NDArray[np.float64]


class Couplings:
    """Full contractions of up to `body_order` moments: polynomials that no rotation or reflection changes.

    l_max       highest rank of the moments
    body_order  largest number of moments in a contraction
    kind        "complete": every graph that is independent of the others and of products of lower orders;
                "paths": the chains that CACE uses
    labels      name of each invariant: order and indices, "nu3 xy,xz,yz" is tr A_2³

    doi 10.1038/s41524-024-01332-4
    """

    def __init__(self, l_max: int, body_order: int, kind: Kind = "complete") -> None:
        self.l_max, self.body_order, self.kind = l_max, body_order, kind
        self.graphs = selected_graphs(l_max, body_order, kind)
        self.labels = ("nu1 1", *(label(graph) for graph in self.graphs))
        self.program = compiled(self.graphs, l_max)

    @property
    def n_invariants(self) -> int:
        """Number of invariants of each channel, the moment of rank 0 included."""
        return len(self.labels)

    def __call__(self, moments: Tensor) -> Tensor:
        """Invariants of each atom and channel; channels do not mix.

        moments  (atom, monomial, channel)   packed, in the order of monomial_exponents
        returns  (atom, invariant, channel)  the moment of rank 0, then one for each graph
        """
        n_atoms, n_moments, n_channels = moments.shape
        if n_moments != n_monomials(self.l_max):
            raise ValueError(
                f"expected {n_monomials(self.l_max)} monomials for l_max={self.l_max}, got moments of shape "
                f"{tuple(moments.shape)}; moments are (atom, monomial, channel)"
            )
        rows = moments.transpose(0, 1).reshape(n_moments, n_atoms * n_channels)
        invariants = evaluated(rows, self.program.to(rows.dtype, rows.device).for_columns_of(rows))
        return invariants.view(self.n_invariants, n_atoms, n_channels).transpose(0, 1)


def selected_graphs(l_max: int, body_order: int, kind: Kind) -> tuple[Graph, ...]:
    """Graphs of order 2 to body_order, low orders first."""
    if l_max < 0 or body_order < 1:
        raise ValueError(f"expected l_max >= 0 and body_order >= 1, got {l_max=} and {body_order=}")
    choices: dict[str, Callable[[int, int], tuple[Graph, ...]]] = {
        "complete": independent_graphs,
        "paths": path_graphs,
    }
    if kind not in choices:
        raise ValueError(f"expected kind to be one of {sorted(choices)}, got {kind!r}")
    return tuple(graph for order in range(2, body_order + 1) for graph in choices[kind](l_max, order))


@cache
def compiled(graphs: tuple[Graph, ...], l_max: int) -> ProductProgram:
    """Products that give the moment of rank 0 and every graph."""
    program = Program(l_max)
    for graph in graphs:
        program.add(graph)
    return ProductProgram.of(program)


@cache
def independent_graphs(l_max: int, order: int) -> tuple[Graph, ...]:
    """Graphs that are independent of each other and of products of lower orders, for one channel.

    The trace of a moment of rank l is the moment of rank l-2 of the same radial function, so that graphs
    of one set of ranks obey linear relations up to products with lower ranks: those are the relations of
    traceless moments. Graphs are taken in their order, each one that no combination of products and of
    earlier graphs reproduces.
    """
    samples = traceless_moments(l_max, n_samples=100)
    spans: dict[tuple[int, ...], Span] = {}
    for content, column in products_of_lower_orders(l_max, order, samples):
        spans.setdefault(content, Span()).grows_by(column)
    return tuple(
        graph
        for graph in contraction_graphs(l_max, order)
        if spans.setdefault(ranks(graph), Span()).grows_by(graph_value(graph, samples))
    )


class Span:
    """Linear span of columns, as an orthonormal basis."""

    def __init__(self) -> None:
        self.basis: list[Floats] = []

    def grows_by(self, column: Floats) -> bool:
        """Add a column; whether it was outside the span.

        Raises ValueError once the span is all there is, and could tell no more columns apart.
        """
        if len(self.basis) == len(column):
            raise ValueError(
                f"{len(column)} invariants of one set of ranks, too many to be told apart; "
                "expected a smaller l_max or body_order"
            )
        column = column / np.linalg.norm(column)
        for _ in range(2):  # the second pass removes what rounding left behind
            for direction in self.basis:
                column = column - (direction @ column) * direction
        length = np.linalg.norm(column)
        if length < 1e-8:
            return False
        self.basis.append(column / length)
        return True


def traceless_moments(l_max: int, n_samples: int) -> Floats:
    """(sample, monomial)  random symmetric traceless tensors of each rank, packed.

    A complex vector v with v.v = 0 has traceless powers v ⊗ v ⊗ .., and these span all such tensors.
    """
    rng = np.random.default_rng(0)
    shape = (n_samples, 2 * l_max + 1)
    t = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    null_vectors = np.stack([1 - t**2, 1j * (1 + t**2), 2 * t], axis=-1) / (1 + abs(t[..., None]) ** 2)
    powers = np.prod(null_vectors[..., None, :] ** np.array(monomial_exponents(l_max)), axis=-1)
    weights = rng.standard_normal((*shape, l_max + 1))[..., list(degrees(l_max))]
    return np.real(weights * powers).sum(axis=1)


def products_of_lower_orders(
    l_max: int, order: int, samples: Floats, smallest: int = 2
) -> Iterator[tuple[tuple[int, ...], Floats]]:
    """Sorted ranks and values (sample,) of products of two or more invariants, `order` moments in all."""
    for first in range(smallest, order // 2 + 1):
        rest = independent_graphs(l_max, order - first)
        others = [(ranks(graph), graph_value(graph, samples)) for graph in rest]
        others.extend(products_of_lower_orders(l_max, order - first, samples, first))
        for graph, (content, other) in product(independent_graphs(l_max, first), others):
            yield tuple(sorted((*ranks(graph), *content))), graph_value(graph, samples) * other


def graph_value(graph: Graph, samples: Floats) -> Floats:
    """(sample,)  value of one graph for moments (sample, monomial), as one einsum over its vertices."""
    operands = [gathered(graph, vertex, samples) for vertex in range(len(graph))]
    weights = [np.array([multiplicity(e) for e in rank_exponents(rank)]) for _, _, rank in edges(graph)]
    return opt_einsum.contract(einsum_equation(graph), *operands, *weights)


def einsum_equation(graph: Graph) -> str:
    """One letter for each bundle of edges and one for the samples: the triangle is "Xab,Xac,Xbc,a,b,c->X".

    The operands after the vertices are the multiplicities of the packed components.
    """
    letters = {bundle: opt_einsum.get_symbol(number) for number, bundle in enumerate(edges(graph))}
    vertices = ("".join(letters[bundle] for bundle in letters if v in bundle[:2]) for v in range(len(graph)))
    return ",".join([*("X" + indices for indices in vertices), *letters.values()]) + "->X"


def gathered(graph: Graph, vertex: int, samples: Floats) -> Floats:
    """(sample, bundle, ..)  moment at a vertex with an axis for each bundle: exponents of bundles add up."""
    l_max = max(ranks(graph))
    axes = [rank_exponents(rank) for *ends, rank in edges(graph) if vertex in ends]
    row = {exponents: place for place, exponents in enumerate(monomial_exponents(l_max))}
    rows = [row[added(components)] for components in product(*axes)]
    return samples[:, rows].reshape(len(samples), *map(len, axes))
