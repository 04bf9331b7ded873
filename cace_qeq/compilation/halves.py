"""Recorded operations taken apart: those that can run at once, and those that wait for a gradient to arrive."""

from collections.abc import Iterable

from torch.fx import Graph, GraphModule, Node


def halves(operations: GraphModule) -> tuple[GraphModule, GraphModule]:
    """What needs nothing of the last input, and the rest.

    operations  of inputs to (early, late), of which the first does not depend on the last input; none writes into
                another's result

    -> all inputs but the last to (early, *kept), and (*kept, *inputs) to (late,)
    """
    nodes = operations.graph.nodes
    *inputs, arriving = (node for node in nodes if node.op == "placeholder")
    waiting = {arriving}
    for node in nodes:
        if waiting.intersection(node.all_input_nodes):
            waiting.add(node)
    (end,) = (node for node in nodes if node.op == "output")
    early, late = end.args[0]
    first = [node for node in nodes if node not in waiting and node.op != "placeholder"]
    second = [node for node in nodes if node in waiting and node not in (arriving, end)]
    constants = [node for node in first if node.op == "get_attr"]
    wanted = {node for later in second for node in later.all_input_nodes}
    kept = [node for node in first if node in wanted and node not in constants]
    return (
        excerpt(operations, inputs, first, [early, *kept]),
        excerpt(operations, [*kept, *inputs, arriving], [*constants, *second], [late]),
    )


def excerpt(whole: GraphModule, inputs: Iterable[Node], nodes: Iterable[Node], results: Iterable[Node]) -> GraphModule:
    """Some of its operations, in their order, as a function."""
    graph = Graph()
    copies = {node: graph.placeholder(node.name) for node in inputs}
    for node in nodes:
        copies[node] = graph.node_copy(node, copies.__getitem__)
    graph.output(tuple(copies[node] for node in results))
    return GraphModule(whole, graph)
