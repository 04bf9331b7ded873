"""Contraction graphs: which indices of which moments are summed over to give an invariant.   (theory, eq. 6)

A vertex is a moment A_l, its degree is the rank l, and an edge of multiplicity k contracts k indices of its
two ends.  Connected graphs without loops are the invariants that are not products of simpler ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import combinations, combinations_with_replacement, permutations

Graph = tuple[tuple[int, ...], ...]
"""Symmetric matrix of edge multiplicities, zero on the diagonal."""

INDEX_LETTERS = "xyzuvwabcdefghijklmnopqrst"


def ranks(graph: Graph) -> tuple[int, ...]:
    """Rank of the moment at each vertex: its degree."""
    return tuple(sum(row) for row in graph)


def edges(graph: Graph) -> tuple[tuple[int, int, int], ...]:
    """Edges (first vertex, second vertex, multiplicity), first < second."""
    pairs = combinations(range(len(graph)), 2)
    return tuple((first, second, graph[first][second]) for first, second in pairs if graph[first][second])


def label(graph: Graph) -> str:
    """The contraction in index notation, a letter for each contracted index: "nu3 xy,yz,zx" is tr A_2³."""
    letters = iter(INDEX_LETTERS)
    indices = [""] * len(graph)
    for first, second, multiplicity in edges(graph):
        for _ in range(multiplicity):
            letter = next(letters)
            indices[first] += letter
            indices[second] += letter
    return f"nu{len(graph)} " + ",".join(indices)


@cache
def contraction_graphs(l_max: int, order: int) -> tuple[Graph, ...]:
    """Connected loop-free multigraphs on `order` vertices of degree 1..l_max, one for each isomorphism class.

    returns  sorted by the ranks of the vertices, low ones first; then those with fewer bundles of edges,
             which are cheaper to contract
    """
    found: dict[Graph, None] = {}
    for degrees in combinations_with_replacement(range(1, l_max + 1), order):
        if sum(degrees) % 2 == 0:
            found |= {canonical(graph): None for graph in realisations(degrees) if is_connected(graph)}
    return tuple(sorted(found, key=lambda graph: (sum(ranks(graph)), ranks(graph), len(edges(graph)), graph)))


def path_graphs(l_max: int, order: int) -> tuple[Graph, ...]:
    """The chains among the graphs of two, three and four vertices that CACE uses.

    Edges in their order along the chain: (l) for two vertices; (l1, l2), l1 <= l2, for three; and
    (l1, d, l2), l1 < l2, for four.  Chains longer than that are not part of the set.
    doi 10.1038/s41524-024-01332-4
    """
    lengths = range(1, l_max + 1)
    chains: dict[int, list[tuple[int, ...]]] = {
        2: [(l1,) for l1 in lengths],
        3: [(l1, l2) for l1 in lengths for l2 in lengths if l1 <= l2],
        4: [(l1, middle, l2) for l1 in lengths for l2 in lengths for middle in lengths if l1 < l2],
    }
    graphs = [chain_graph(chain) for chain in chains.get(order, [])]
    return tuple(graph for graph in graphs if max(ranks(graph)) <= l_max)


def chain_graph(multiplicities: tuple[int, ...]) -> Graph:
    """The path whose successive edges have the given multiplicities."""
    size = len(multiplicities) + 1
    matrix = [[0] * size for _ in range(size)]
    for vertex, multiplicity in enumerate(multiplicities):
        matrix[vertex][vertex + 1] = matrix[vertex + 1][vertex] = multiplicity
    return tuple(tuple(row) for row in matrix)


def realisations(degrees: tuple[int, ...]) -> Iterator[Graph]:
    """Every loop-free multigraph whose vertices have exactly these degrees, isomorphic ones included."""
    if not degrees:
        yield ()
        return
    for row in compositions(degrees[0], degrees[1:]):
        remaining = tuple(degree - used for degree, used in zip(degrees[1:], row, strict=True))
        for rest in realisations(remaining):
            yield ((0, *row), *((used, *line) for used, line in zip(row, rest, strict=True)))


def compositions(total: int, limits: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Ways to write `total` as ordered summands, each at most its limit."""
    if not limits:
        if total == 0:
            yield ()
        return
    for first in range(min(total, limits[0]) + 1):
        for rest in compositions(total - first, limits[1:]):
            yield (first, *rest)


def is_connected(graph: Graph) -> bool:
    """Whether every vertex can be reached from the first one."""
    reached, frontier = {0}, [0]
    while frontier:
        row = graph[frontier.pop()]
        new = [vertex for vertex, multiplicity in enumerate(row) if multiplicity and vertex not in reached]
        reached.update(new)
        frontier.extend(new)
    return len(reached) == len(graph)


def canonical(graph: Graph) -> Graph:
    """The largest matrix among all numberings of the vertices that keep the ranks sorted."""
    degrees = ranks(graph)
    numberings = (order for order in permutations(range(len(graph))) if keeps_ranks(order, degrees))
    return max(tuple(tuple(graph[i][j] for j in order) for i in order) for order in numberings)


def keeps_ranks(order: tuple[int, ...], degrees: tuple[int, ...]) -> bool:
    """Whether a renumbering moves vertices only among those of equal rank."""
    return all(degrees[old] == degree for old, degree in zip(order, degrees, strict=True))
