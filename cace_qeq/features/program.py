"""A set of contractions as one straight-line program of products, with everything shared that can be.

Every row of the program is a polynomial of the packed moments. The first rows are the moments themselves;
each later row is a weighted sum of products of two earlier ones. Contractions that meet the same
intermediate tensor (A_2·A_1, A_3:A_3, ..) meet the same rows, so it is computed once.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import product

from cace_qeq.features.graphs import Graph, edges
from cace_qeq.features.monomials import Exponents, monomial_exponents, multiplicity, rank_exponents

Components = tuple[Exponents, ...]
Terms = tuple[tuple[tuple[int, int], int], ...]
"""((row, row), weight) of each product in a sum, sorted."""


@dataclass(frozen=True)
class OpenTensor:
    """A partly contracted graph: one packed axis for each bundle of edges that is still open.

    bundles  edges as (first vertex, second vertex), one for each axis
    rows     row of the program that holds each component
    """

    bundles: tuple[tuple[int, int], ...]
    rows: dict[Components, int]


@dataclass
class Program:
    """Rows computed so far.

    l_max   highest rank of the moments
    sums    terms of each row after the moments; None for the moments
    stages  after how many rounds of products a row is known; 0 for the moments
    """

    l_max: int
    sums: list[Terms | None] = field(default_factory=list)
    stages: list[int] = field(default_factory=list)
    known: dict[Terms, int] = field(default_factory=dict)
    moment_rows: dict[Exponents, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for row, exponents in enumerate(monomial_exponents(self.l_max)):
            self.moment_rows[exponents] = row
            self.sums.append(None)
            self.stages.append(0)

    def row_of(self, terms: Counter[tuple[int, int]]) -> int:
        """Row that holds a sum of products; an equal sum that is already there is used again."""
        key = tuple(sorted(terms.items()))
        if key not in self.known:
            self.known[key] = len(self.sums)
            self.sums.append(key)
            self.stages.append(1 + max(self.stages[row] for pair in terms for row in pair))
        return self.known[key]

    def contract(self, graph: Graph, order: list[tuple[int, ...]]) -> int:
        """Row of the invariant of a graph, contracting pairs of operands in the order of an einsum path."""
        operands = [self.vertex(graph, vertex) for vertex in range(len(graph))]
        weights = {(first, second): multiplicity_k for first, second, multiplicity_k in edges(graph)}
        for positions in order:
            second, first = (operands.pop(position) for position in sorted(positions, reverse=True))
            operands.append(self.joined(first, second, weights))
        return operands[0].rows[()]

    def vertex(self, graph: Graph, vertex: int) -> OpenTensor:
        """Moment at a vertex, gathered into an axis for each bundle: the exponents of the bundles add up."""
        bundles = [(edge, k) for *edge, k in edges(graph) if vertex in edge]
        rows = {
            components: self.moment_rows[added(components)]
            for components in product(*(rank_exponents(k) for _, k in bundles))
        }
        return OpenTensor(tuple((edge[0], edge[1]) for edge, _ in bundles), rows)

    def joined(self, first: OpenTensor, second: OpenTensor, ranks: dict[tuple[int, int], int]) -> OpenTensor:
        """Contraction of all bundles between two operands, each packed component with its multiplicity."""
        shared = [bundle for bundle in first.bundles if bundle in second.bundles]
        open_first = [bundle for bundle in first.bundles if bundle not in shared]
        open_second = [bundle for bundle in second.bundles if bundle not in shared]
        partners: dict[Components, list[tuple[Components, int]]] = {}
        for components, row in second.rows.items():
            key = chosen(second, components, shared)
            partners.setdefault(key, []).append((chosen(second, components, open_second), row))
        sums: dict[Components, Counter[tuple[int, int]]] = {}
        for components, row in first.rows.items():
            key, left = chosen(first, components, shared), chosen(first, components, open_first)
            weight = 1
            for exponents in key:
                weight *= multiplicity(exponents)
            for right, other in partners[key]:
                sums.setdefault(left + right, Counter())[min(row, other), max(row, other)] += weight
        rows = {components: self.row_of(terms) for components, terms in sums.items()}
        return OpenTensor((*open_first, *open_second), rows)


def added(components: Components) -> Exponents:
    """Exponents of a product of monomials."""
    x, y, z = (sum(exponents[axis] for exponents in components) for axis in range(3))
    return x, y, z


def chosen(tensor: OpenTensor, components: Components, bundles: list[tuple[int, int]]) -> Components:
    """The components along some of the axes of a tensor."""
    return tuple(components[tensor.bundles.index(bundle)] for bundle in bundles)
