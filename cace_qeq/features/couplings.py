"""Invariants of any body order: contraction graphs, compiled once, evaluated on packed moments."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Literal

import numpy as np
import opt_einsum
import torch
from numpy.typing import NDArray
from torch import Tensor

from cace_qeq.features.graphs import Graph, contraction_graphs, edges, label, path_graphs, ranks
from cace_qeq.features.monomials import degrees, monomial_exponents, n_monomials, rank_exponents
from cace_qeq.features.program import Program

Kind = Literal["complete", "paths"]
Floats = NDArray[np.float64]


class Couplings:
    """Full contractions of up to `body_order` moments: polynomials that no rotation or reflection changes.

    l_max       highest rank of the moments
    body_order  largest number of moments in a contraction
    kind        "complete": every graph that is independent of the others and of products of lower orders;
                "paths": the chains that CACE uses
    labels      name of each invariant: order and indices, "nu3 xy,yz,zx"

    doi 10.1038/s41524-024-01332-4
    """

    def __init__(self, l_max: int, body_order: int, kind: Kind = "complete") -> None:
        self.l_max, self.body_order, self.kind = l_max, body_order, kind
        self.graphs = selected_graphs(l_max, body_order, kind)
        self.labels = ("nu1 1", *(label(graph) for graph in self.graphs))
        self.stages, self.outputs = compiled(self.graphs, l_max)

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
        invariants = evaluated(rows, self.stages)[self.outputs.to(rows.device)]
        return invariants.view(self.n_invariants, n_atoms, n_channels).transpose(0, 1)


@dataclass(frozen=True)
class Stage:
    """One round of products of earlier rows, and the sums of them that are the new rows.

    left, right  (product,)      rows to multiply
    weights      (row, product)
    """

    left: Tensor
    right: Tensor
    weights: Tensor


def evaluated(rows: Tensor, stages: tuple[Stage, ...]) -> Tensor:
    """Rows of all stages, (row, sample), from those of the moments, (monomial, sample)."""
    for stage in stages:
        products = rows[stage.left.to(rows.device)] * rows[stage.right.to(rows.device)]
        rows = torch.cat([rows, stage.weights.to(rows) @ products])
    return rows


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


def compiled(graphs: tuple[Graph, ...], l_max: int) -> tuple[tuple[Stage, ...], Tensor]:
    """Stages of products that give every graph, and the row of each invariant, the rank 0 moment first."""
    program = Program(l_max)
    outputs = [0, *(program.contract(graph, contraction_order(graph)) for graph in graphs)]
    by_stage = sorted(range(len(program.sums)), key=lambda row: program.stages[row])
    position = {row: place for place, row in enumerate(by_stage)}
    stages = []
    for stage in range(1, max(program.stages) + 1):
        sums = [dict(program.sums[row] or ()) for row in by_stage if program.stages[row] == stage]
        pairs = sorted({pair for terms in sums for pair in terms})
        weights = [[float(terms.get(pair, 0)) for pair in pairs] for terms in sums]
        left, right = (torch.tensor([position[pair[side]] for pair in pairs]) for side in (0, 1))
        stages.append(Stage(left, right, torch.tensor(weights, dtype=torch.float64)))
    return tuple(stages), torch.tensor([position[row] for row in outputs])


def einsum_equation(graph: Graph) -> str:
    """The contraction with one letter for each bundle of edges: the triangle is "ab,ac,bc->"."""
    letters = {edge: opt_einsum.get_symbol(number) for number, edge in enumerate(edges(graph))}
    vertices = range(len(graph))
    operands = ("".join(letters[edge] for edge in letters if vertex in edge[:2]) for vertex in vertices)
    return ",".join(operands) + "->"


def contraction_order(graph: Graph) -> list[tuple[int, ...]]:
    """Cheapest order of pairwise contractions, as positions in a shrinking list of operands."""
    sizes = {edge: len(rank_exponents(edge[2])) for edge in edges(graph)}
    vertices = range(len(graph))
    shapes = [tuple(size for edge, size in sizes.items() if vertex in edge[:2]) for vertex in vertices]
    path, _ = opt_einsum.contract_path(einsum_equation(graph), *shapes, shapes=True, optimize="optimal")
    return list(path)


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
        for graph, column in graph_values(contraction_graphs(l_max, order), l_max, samples)
        if spans.setdefault(tuple(sorted(ranks(graph))), Span()).grows_by(column)
    )


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


class Span:
    """Linear span of columns, as an orthonormal basis."""

    def __init__(self) -> None:
        self.basis: list[Floats] = []

    def grows_by(self, column: Floats) -> bool:
        """Add a column; whether it was outside the span."""
        column = column / np.linalg.norm(column)
        for _ in range(2):  # the second pass removes what rounding left behind
            for direction in self.basis:
                column = column - (direction @ column) * direction
        length = np.linalg.norm(column)
        if length < 1e-8:
            return False
        self.basis.append(column / length)
        return True


def products_of_lower_orders(
    l_max: int, order: int, samples: Floats, smallest: int = 2
) -> Iterator[tuple[tuple[int, ...], Floats]]:
    """Ranks and values (sample,) of products of two or more invariants, with `order` moments in all."""
    for first in range(smallest, order // 2 + 1):
        factors = list(graph_values(independent_graphs(l_max, first), l_max, samples))
        rest = graph_values(independent_graphs(l_max, order - first), l_max, samples)
        others = [(ranks(graph), values) for graph, values in rest]
        others.extend(products_of_lower_orders(l_max, order - first, samples, first))
        for (graph, values), (content, other) in product(factors, others):
            yield tuple(sorted((*ranks(graph), *content))), values * other


def graph_values(graphs: tuple[Graph, ...], l_max: int, samples: Floats) -> Iterator[tuple[Graph, Floats]]:
    """Each graph with its values (sample,) for moments (sample, monomial)."""
    stages, outputs = compiled(graphs, l_max)
    rows = evaluated(torch.from_numpy(samples.T), stages)[outputs[1:]]
    return zip(graphs, rows.numpy(), strict=True)
