import pytest
import torch

from cace_qeq.features.columns import evaluated
from cace_qeq.features.couplings import Couplings, compiled, independent_graphs
from cace_qeq.features.products import MANY_COLUMNS, ProductProgram, factors, free_calls
from cace_qeq.features.row_by_row import RowByRow


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def program(l_max: int, body_order: int) -> ProductProgram:
    return Couplings(l_max, body_order).program.to(torch.float64, torch.device("cpu"))


def plain(moments: torch.Tensor, steps: ProductProgram) -> torch.Tensor:
    """The same program with derivatives left to autograd."""
    rows = steps.all_rows(moments)
    for stage in steps.stages:
        left, right = factors(rows, stage)
        rows = rows.index_add(0, stage.target, left * right * stage.weight)
    return rows[steps.outputs]


def derivatives(function, moments, weights, direction):
    """Gradient, and derivatives of (gradient . direction) by moments and weights."""
    gradient, *_ = torch.autograd.grad(function(moments), moments, weights, create_graph=True)
    return gradient, *torch.autograd.grad(gradient, (moments, weights), direction, create_graph=True)


WAYS = {"round by round": lambda steps: steps, "row by row": lambda steps: steps.row_by_row}
either = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


@either
@pytest.mark.parametrize("body_order", [1, 3, 4, 5])
def test_derivatives_equal_finite_differences(body_order, way, monkeypatch):
    for kind in (ProductProgram, RowByRow):
        monkeypatch.setattr(kind, "block_columns", 2)  # several blocks, the last one incomplete
    steps, moments = way(program(2, body_order)), random(10, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda a: evaluated(a, steps), moments)
    assert torch.autograd.gradgradcheck(lambda a: evaluated(a, steps), moments)


@either
def test_derivatives_equal_those_of_autograd(way):
    steps = program(3, 4)
    moments, weights = random(20, 1500).requires_grad_(), random(17, 1500, seed=1).requires_grad_()
    direction = random(20, 1500, seed=2)
    expected = derivatives(lambda a: plain(a, steps), moments, weights, direction)
    for value, reference in zip(
        derivatives(lambda a: evaluated(a, way(steps)), moments, weights, direction), expected, strict=True
    ):
        scale = reference.abs().max().item()
        torch.testing.assert_close(value, reference, rtol=1e-12, atol=1e-13 * scale)


@either
def test_third_derivatives_equal_those_of_autograd(way):
    steps = program(2, 4)
    moments, weights, direction = random(10, 4).requires_grad_(), random(len(steps.outputs), 4), random(10, 4)
    weights.requires_grad_()
    thirds = []
    for function in (lambda a: plain(a, steps), lambda a: evaluated(a, way(steps))):
        _, second, _ = derivatives(function, moments, weights, direction)
        thirds.append(torch.autograd.grad(second, moments, direction)[0])
    torch.testing.assert_close(thirds[1], thirds[0], rtol=1e-11, atol=1e-11)


@either
def test_a_batch_without_columns(way):
    assert evaluated(random(20, 0), way(program(3, 3))).shape == (8, 0)


def test_many_columns_are_taken_row_by_row():
    steps = program(2, 2)
    assert steps.for_columns_of(random(10, MANY_COLUMNS - 1)) is steps
    assert steps.for_columns_of(random(10, MANY_COLUMNS)) is steps.row_by_row
    assert program(5, 4).for_columns_of(random(56, MANY_COLUMNS)) is program(5, 4)  # thousands of products
    with free_calls():
        assert steps.for_columns_of(random(10, 1)) is steps.row_by_row


@pytest.mark.parametrize("kind", ["complete", "paths"])
def test_invariants_do_not_depend_on_how_many_atoms_there_are(kind):
    couplings, moments = Couplings(3, 3, kind), random(MANY_COLUMNS // 2, 20, 4)
    few = torch.cat([couplings(part) for part in moments.split(50)])
    torch.testing.assert_close(couplings(moments), few, rtol=1e-13, atol=1e-13)


def test_shared_intermediates_keep_the_program_short():
    """Without sharing the nine graphs of order four alone would take more than 500 products."""
    graphs = tuple(graph for order in (2, 3, 4) for graph in independent_graphs(3, order))
    assert sum(len(stage.left) for stage in compiled(graphs, 3).stages) < 200
