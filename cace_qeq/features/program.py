"""A set of contractions as one straight-line program of products, with everything shared that can be.

Every row of the program is a polynomial of the packed moments. The first rows are the moments themselves;
each later row is a weighted sum of products of two earlier ones. Contractions that meet the same
intermediate tensor (A_2·A_1, A_3:A_3, ..) meet the same rows, so it is computed once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, product

from cace_qeq.features.graphs import Graph, edges
from cace_qeq.features.monomials import Exponents, monomial_exponents, multiplicity, rank_exponents

Bundle = tuple[int, int, int]
"""First vertex, second vertex, multiplicity: one packed axis."""

Pair = tuple[int, int]

Components = tuple[Exponents, ...]
Terms = tuple[tuple[Pair, int], ...]
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
        operands = [self._vertex(graph, vertex) for vertex in range(len(graph))]
        for pair in self._cheapest(operands):
            operands = self._contracted(operands, pair)
        self.outputs.append(operands[0].rows[()])

    def _cheapest(self, operands: list[OpenTensor]) -> list[Pair]:
        """Pairs of operands, as places in a shrinking list; what costs as much as the best so far is not followed."""
        n_rows, best, lowest = len(self.sums), list[Pair](), math.inf

        def follow(operands: list[OpenTensor], order: list[Pair]) -> None:
            nonlocal best, lowest
            before = len(self.sums)
            cost = sum(len(terms) for terms in self.sums[n_rows:])
            if cost >= lowest:
                return
            if len(operands) == 1:
                best, lowest = order, cost
            for pair in combinations(range(len(operands)), 2):
                if set(operands[pair[0]].bundles) & set(operands[pair[1]].bundles):  # no outer products
                    follow(self._contracted(operands, pair), [*order, pair])
                    self._forget(before)

        follow(operands, [])
        return best

    def _contracted(self, operands: list[OpenTensor], pair: Pair) -> list[OpenTensor]:
        left, right = (operands[place] for place in pair)
        others = [operand for place, operand in enumerate(operands) if place not in pair]
        return [*others, self._joined(left, right)]

    def _forget(self, n_rows: int) -> None:
        """All rows but the first."""
        for terms in self.sums[n_rows:]:
            del self._known[terms]
        del self.sums[n_rows:], self.stages[n_rows:]

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
        for (summed, kept), row in split_rows(second, shared, right_open):
            partners.setdefault(summed, []).append((kept, row))
        sums: dict[Components, dict[Pair, int]] = {}
        for (summed, kept), row in split_rows(first, shared, left_open):
            weight = math.prod(map(multiplicity, summed))
            for right_kept, other in partners[summed]:
                terms = sums.setdefault(kept + right_kept, {})
                pair = (row, other) if row < other else (other, row)
                terms[pair] = terms.get(pair, 0) + weight
        rows = {components: self._row(terms) for components, terms in sums.items()}
        return OpenTensor((*left_open, *right_open), rows)

    def _row(self, terms: dict[Pair, int]) -> int:
        """Row that holds a sum of products; an equal sum that is already there is used again."""
        key = tuple(sorted(terms.items()))
        if key not in self._known:
            self._known[key] = len(self.sums)
            self.sums.append(key)
            self.stages.append(1 + max(self.stages[row] for pair in terms for row in pair))
        return self._known[key]


def added(components: Components) -> Exponents:
    """Exponents of a product of monomials."""
    x, y, z = (sum(exponents[axis] for exponents in components) for axis in range(3))
    return x, y, z


def split_rows(
    tensor: OpenTensor, first: list[Bundle], second: list[Bundle]
) -> Iterator[tuple[tuple[Components, Components], int]]:
    """Components along two groups of axes, and the row that they have."""
    places = [[tensor.bundles.index(bundle) for bundle in bundles] for bundles in (first, second)]
    for components, row in tensor.rows.items():
        one, other = (tuple([components[place] for place in group]) for group in places)
        yield (one, other), row
