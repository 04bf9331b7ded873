"""A set of contractions as one straight-line program of products, with everything shared that can be.

Every row of the program is a polynomial of the packed moments. The first rows are the moments themselves;
each later row is a weighted sum of products of two earlier ones. Contractions that meet the same
intermediate tensor (A_2·A_1, A_3:A_3, ..) meet the same rows, so it is computed once.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, product

from cace_qeq.features.graphs import Graph, edges
from cace_qeq.features.monomials import Exponents, monomial_exponents, multiplicity, rank_exponents

Bundle = tuple[int, int, int]
"""First vertex, second vertex, multiplicity: one packed axis."""

Components = tuple[Exponents, ...]
Terms = tuple[tuple[tuple[int, int], int], ...]
"""((row, row), weight) of each product in a sum, sorted."""


@dataclass(frozen=True)
class OpenTensor:
    """A partly contracted graph: one packed axis for each bundle of edges that is still open.

    rows  row of the program that holds each component
    """

    bundles: tuple[Bundle, ...]
    rows: dict[Components, int]


class Program:
    """Rows that have been asked for so far.

    sums     terms of each row; none for the moments
    stages   after how many rounds of products a row is known; 0 for the moments
    outputs  row of each contraction
    """

    def __init__(self, l_max: int) -> None:
        self.moments = {exponents: row for row, exponents in enumerate(monomial_exponents(l_max))}
        self.sums: list[Terms] = [()] * len(self.moments)
        self.stages = [0] * len(self.moments)
        self.outputs: list[int] = []
        self._known: dict[Terms, int] = {}

    def add(self, graph: Graph) -> None:
        """Contract a graph in the order that needs the fewest products beyond those already there."""
        best = min(pairwise_orders(graph), key=lambda order: self._cost(graph, order))
        self.outputs.append(self._contract(graph, best))

    def _cost(self, graph: Graph, order: list[tuple[int, int]]) -> int:
        n_rows = len(self.sums)
        self._contract(graph, order)
        cost = sum(len(terms) for terms in self.sums[n_rows:])
        for terms in self.sums[n_rows:]:
            del self._known[terms]
        del self.sums[n_rows:], self.stages[n_rows:]
        return cost

    def _contract(self, graph: Graph, order: list[tuple[int, int]]) -> int:
        operands = [self._vertex(graph, vertex) for vertex in range(len(graph))]
        for first, second in order:
            right, left = operands.pop(second), operands.pop(first)
            operands.append(self._joined(left, right))
        return operands[0].rows[()]

    def _vertex(self, graph: Graph, vertex: int) -> OpenTensor:
        """Moment at a vertex, gathered into an axis for each bundle: the exponents of the bundles add up."""
        bundles = tuple(bundle for bundle in edges(graph) if vertex in bundle[:2])
        components = product(*(rank_exponents(rank) for _, _, rank in bundles))
        return OpenTensor(bundles, {component: self.moments[added(component)] for component in components})

    def _joined(self, first: OpenTensor, second: OpenTensor) -> OpenTensor:
        """Contraction of all bundles between two operands, each packed component with its multiplicity."""
        shared = [bundle for bundle in first.bundles if bundle in second.bundles]
        left_open = [bundle for bundle in first.bundles if bundle not in shared]
        right_open = [bundle for bundle in second.bundles if bundle not in shared]
        partners: dict[Components, list[tuple[Components, int]]] = {}
        for components, row in second.rows.items():
            summed, kept = chosen(second, components, shared), chosen(second, components, right_open)
            partners.setdefault(summed, []).append((kept, row))
        sums: dict[Components, Counter[tuple[int, int]]] = {}
        for components, row in first.rows.items():
            summed, kept = chosen(first, components, shared), chosen(first, components, left_open)
            weight = math.prod(map(multiplicity, summed))
            for right_kept, other in partners[summed]:
                sums.setdefault(kept + right_kept, Counter())[min(row, other), max(row, other)] += weight
        rows = {components: self._row(terms) for components, terms in sums.items()}
        return OpenTensor((*left_open, *right_open), rows)

    def _row(self, terms: Counter[tuple[int, int]]) -> int:
        """Row that holds a sum of products; an equal sum that is already there is used again."""
        key = tuple(sorted(terms.items()))
        if key not in self._known:
            self._known[key] = len(self.sums)
            self.sums.append(key)
            self.stages.append(1 + max(self.stages[row] for pair in terms for row in pair))
        return self._known[key]


def pairwise_orders(graph: Graph) -> Iterator[list[tuple[int, int]]]:
    """Orders of contracting two operands at a time, as positions in a shrinking list; no outer products."""
    return orders_of([frozenset([vertex]) for vertex in range(len(graph))], graph)


def orders_of(operands: list[frozenset[int]], graph: Graph) -> Iterator[list[tuple[int, int]]]:
    """The same for operands that are groups of vertices."""
    if len(operands) == 1:
        yield []
    for first, second in combinations(range(len(operands)), 2):
        left, right = operands[first], operands[second]
        if any(graph[i][j] for i in left for j in right):
            others = [group for group in operands if group not in (left, right)]
            for rest in orders_of([*others, left | right], graph):
                yield [(first, second), *rest]


def added(components: Components) -> Exponents:
    """Exponents of a product of monomials."""
    x, y, z = (sum(exponents[axis] for exponents in components) for axis in range(3))
    return x, y, z


def chosen(tensor: OpenTensor, components: Components, bundles: list[Bundle]) -> Components:
    """The components along some of the axes of a tensor."""
    return tuple(components[tensor.bundles.index(bundle)] for bundle in bundles)
