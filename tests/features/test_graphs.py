from itertools import permutations

import pytest

from cace_qeq.features.graphs import chain_graph, contraction_graphs, label, path_graphs, ranks


@pytest.mark.parametrize(("l_max", "counts"), [(3, [3, 4, 12]), (4, [4, 9, 37])])
def test_number_of_graphs_of_two_three_and_four_vertices(l_max, counts):
    assert [len(contraction_graphs(l_max, order)) for order in (2, 3, 4)] == counts


@pytest.mark.parametrize("order", [2, 3, 4, 5])
def test_graphs_are_connected_loop_free_and_within_the_ranks(order):
    for graph in contraction_graphs(3, order):
        assert all(graph[i][i] == 0 for i in range(order))
        assert all(graph[i][j] == graph[j][i] for i in range(order) for j in range(order))
        assert all(1 <= rank <= 3 for rank in ranks(graph))
        reached = {0}
        for _ in range(order):
            reached |= {j for i in reached for j in range(order) if graph[i][j]}
        assert reached == set(range(order))


@pytest.mark.parametrize("order", [2, 3, 4])
def test_no_two_graphs_are_the_same_up_to_renumbering(order):
    graphs = contraction_graphs(4, order)
    for graph in graphs:
        numberings = permutations(range(order))
        images = {tuple(tuple(graph[i][j] for j in numbers) for i in numbers) for numbers in numberings}
        assert [other for other in graphs if other in images] == [graph]


def test_paths_are_those_of_cace():
    chains = {2: [(1,), (2,), (3,)], 3: [(1, 1), (1, 2)], 4: [(1, 1, 2)]}  # its labels put the middle last
    for order, edges in chains.items():
        assert path_graphs(3, order) == tuple(chain_graph(chain) for chain in edges)
    assert [len(path_graphs(4, order)) for order in (2, 3, 4, 5)] == [4, 4, 4, 0]


def test_labels_name_order_and_indices():
    assert label(chain_graph((1, 2))) == "nu3 x,xyz,yz"
    labels = [label(graph) for graph in contraction_graphs(4, 4)]
    assert len(set(labels)) == len(labels)
