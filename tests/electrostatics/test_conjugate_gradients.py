import pytest
import torch

from cace_qeq.electrostatics.conjugate_gradients import (
    Constraint,
    Convergence,
    ConvergenceError,
    System,
    conjugate_gradients,
)

N = 40
ALONE = torch.ones(1, N, dtype=torch.float64)
GROUPS = torch.stack([torch.ones(N), (torch.arange(N) < 7).double(), torch.linspace(-1, 1, N)]).double()


def matrix(seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(N, N, generator=generator, dtype=torch.float64)
    return root @ root.T / N + torch.diag(torch.linspace(1, 30, N, dtype=torch.float64))


def system(rows=ALONE, lowered=0.0, dtype=torch.float64) -> System:
    """With the diagonal as preconditioner."""
    dense = (matrix() - lowered).to(dtype)
    return System(lambda x: dense @ x, lambda x: x / matrix().diagonal().to(dtype), Constraint.of(rows.to(dtype)))


def right_side(dtype=torch.float64):
    return torch.randn(N, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)


def bordered(rows, total):
    zeros = torch.zeros(len(rows), len(rows), dtype=torch.float64)
    whole = torch.cat([torch.cat([matrix(), rows.T], 1), torch.cat([rows, zeros], 1)])
    return torch.linalg.solve(whole, torch.cat([right_side(), total]))


@pytest.mark.parametrize("rows", [ALONE, GROUPS], ids=["total charge", "three rows"])
def test_solution_is_that_of_the_bordered_system(rows):
    total = torch.linspace(0.5, 2, len(rows), dtype=torch.float64)
    found = conjugate_gradients(system(rows), right_side(), total, torch.zeros(N).double(), Convergence(1e-12))
    expected = bordered(rows, total)
    assert torch.allclose(found.solution, expected[:N], rtol=0, atol=1e-12)
    assert torch.allclose(found.multiplier, expected[N:], rtol=0, atol=1e-11)
    assert torch.allclose(found.product, matrix() @ found.solution, rtol=0, atol=1e-11)
    assert torch.allclose(rows @ found.solution, total, rtol=0, atol=1e-13)


@pytest.mark.parametrize("n_rows", [1, 8, 20])
def test_constraints_cost_no_further_products(n_rows):
    """However many fragments there are, one with K and one with its approximate inverse in each iteration."""
    rows = torch.eye(n_rows, dtype=torch.float64).repeat_interleave(N // n_rows, dim=1)
    plain, counts = system(rows), {"product": 0, "precondition": 0}

    def counted(name, function):
        def call(x):
            counts[name] += 1
            return function(x)

        return call

    watched = System(
        counted("product", plain.product), counted("precondition", plain.precondition), Constraint.of(rows)
    )
    total = torch.linspace(-1, 1, n_rows, dtype=torch.float64)
    found = conjugate_gradients(watched, right_side(), total, torch.zeros(N).double(), Convergence(1e-9))
    iterations = len(found.residuals) - 1
    assert counts == {"product": iterations + 1, "precondition": iterations}
    assert torch.allclose(found.solution, bordered(rows, total)[:N], rtol=0, atol=1e-8)


def test_only_changes_within_the_constraint_need_a_positive_matrix():
    """A background adds a negative constant to all pairs, as in every crystal."""
    total = torch.ones(1, dtype=torch.float64)
    found = conjugate_gradients(system(lowered=3.0), right_side(), total, torch.zeros(N).double(), Convergence(1e-12))
    assert torch.linalg.eigvalsh(matrix() - 3.0).min() < 0
    assert torch.allclose(found.solution, bordered(ALONE, total)[:N], rtol=0, atol=1e-12)


def test_a_good_start_saves_iterations():
    total = torch.ones(1, dtype=torch.float64)
    cold = conjugate_gradients(system(), right_side(), total, torch.zeros(N).double(), Convergence(1e-10))
    near = cold.solution + 1e-5 * right_side()
    warm = conjugate_gradients(system(), right_side(), total, near, Convergence(1e-10))
    done = conjugate_gradients(system(), right_side(), total, cold.solution, Convergence(1e-9))
    assert len(warm.residuals) < 0.8 * len(cold.residuals)
    assert len(done.residuals) == 1


@pytest.mark.parametrize("start", [0.0, 1e4])
def test_single_precision_converges_and_keeps_the_total(start):
    """Residuals of one in a million of the right-hand side, whatever constant the guess is off by."""
    total = torch.ones(1)
    begin = torch.full((N,), start)
    found = conjugate_gradients(
        system(dtype=torch.float32), right_side(torch.float32), total, begin, Convergence(1e-5 if start == 0 else 1e-2)
    )
    assert found.solution.sum().item() == pytest.approx(1.0, abs=1e-5 if start == 0 else 1e-2)


def test_too_few_iterations_are_an_error_with_their_history():
    with pytest.raises(ConvergenceError, match="within 3 iterations") as caught:
        conjugate_gradients(system(), right_side(), ALONE[0, :1], torch.zeros(N).double(), Convergence(1e-9, 3))
    assert len(caught.value.residuals) == 4
    assert caught.value.residuals[0] > caught.value.residuals[-1] > 1e-9


def test_numbers_that_are_not_finite_end_at_once():
    right = right_side()
    right[3] = torch.nan
    with pytest.raises(ConvergenceError, match="nan"):
        conjugate_gradients(system(), right, torch.ones(1).double(), torch.zeros(N).double(), Convergence())
