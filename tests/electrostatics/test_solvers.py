import pytest
import torch

from cace_qeq.electrostatics.constraints import Constraints
from cace_qeq.electrostatics.solvers import factorize, solve_constrained

OCCUPIED = torch.tensor([[True, True, True, True], [True, True, False, False]])
ROWS = torch.stack([OCCUPIED.double(), torch.tensor([[0.0, 1, 0, 2], [0, 0, 0, 0]], dtype=torch.float64)], 1)
TOTAL_ALONE = Constraints(ROWS[:, :1], torch.zeros(2, 1))
TWO_ROWS = Constraints(ROWS, torch.zeros(2, 2))  # one alone in the second structure


BOTH = pytest.mark.parametrize("constraints", [TOTAL_ALONE, TWO_ROWS], ids=["one row", "two rows"])


def system(seed: int = 0):
    """Positive definite matrices of unequal size, the identity in padding, and right-hand sides for two rows."""
    generator = torch.Generator().manual_seed(seed)
    roots = torch.randn(2, 4, 4, generator=generator, dtype=torch.float64)
    both = OCCUPIED.unsqueeze(1) & OCCUPIED.unsqueeze(2)
    matrix = (roots @ roots.transpose(1, 2) + 2 * torch.eye(4)) * both + torch.diag_embed(~OCCUPIED).double()
    right = torch.randn(2, 4, generator=generator, dtype=torch.float64) * OCCUPIED
    values = torch.randn(2, 2, generator=generator, dtype=torch.float64)
    return matrix, right, values


def values_for(constraints, values):
    return values[:, : constraints.rows.shape[1]] * constraints.active


def solution_by(constraints):
    def solved(root, right, values):
        """Of a symmetrised matrix, so that finite differences may change any element."""
        matrix = (root + root.transpose(1, 2)) / 2
        factors = factorize(matrix, constraints)
        return solve_constrained(matrix, factors, right * OCCUPIED, values_for(constraints, values))

    return solved


def bordered_by(constraints):
    def bordered(matrix, right, values):
        """[[K, Cᵀ], [C, 0]] [x; μ] = [b; c] solved as one dense system, with one for rows that are not there."""
        top = torch.cat([matrix, constraints.rows.transpose(1, 2)], dim=2)
        missing = torch.diag_embed((~constraints.active).double())
        right = torch.cat([right, values_for(constraints, values)], dim=1)
        system = torch.cat([top, torch.cat([constraints.rows, missing], dim=2)], dim=1)
        return torch.linalg.solve(system, right).split([4, constraints.rows.shape[1]], dim=1)

    return bordered


@BOTH
def test_solution_is_that_of_the_bordered_system(constraints):
    matrix, right, values = system()
    found = solution_by(constraints)(matrix, right, values)
    for one, other in zip(found, bordered_by(constraints)(matrix, right, values), strict=True):
        assert torch.allclose(one, other, atol=1e-13)
    kept = (constraints.rows @ found[0].unsqueeze(-1)).squeeze(-1)
    assert torch.allclose(kept, values_for(constraints, values), atol=1e-13)


@BOTH
def test_padding_stays_empty(constraints):
    solution, multipliers = solution_by(constraints)(*system())
    assert not solution[~OCCUPIED].any()
    assert not multipliers[~constraints.active].any()


@BOTH
def test_derivatives_of_first_and_second_order(constraints):
    inputs = tuple(value.requires_grad_() for value in system())
    assert torch.autograd.gradcheck(solution_by(constraints), inputs)
    assert torch.autograd.gradgradcheck(solution_by(constraints), inputs)


@BOTH
def test_third_derivative_is_that_of_the_bordered_system(constraints):
    direction, right, values = system(seed=1)
    matrix, _, _ = system(seed=0)

    def third(solve):
        step = torch.zeros((), dtype=torch.float64, requires_grad=True)
        derivative = solve(matrix + step * direction, right, values)[0].square().sum()
        for _ in range(3):
            (derivative,) = torch.autograd.grad(derivative, step, create_graph=True)
        return float(derivative.detach())

    expected = third(bordered_by(constraints))
    assert third(solution_by(constraints)) == pytest.approx(expected, rel=1e-10)


def test_indefinite_matrix_is_explained():
    matrix, _, _ = system()
    matrix[1, 0, 0] = -3.0
    with pytest.raises(ValueError, match="structure 1 .* is not positive definite"):
        factorize(matrix, TOTAL_ALONE)


def test_numbers_that_are_not_finite_are_explained():
    matrix, _, _ = system()
    matrix[0, 1, 1] = torch.nan
    with pytest.raises(ValueError, match="structure 0 .* not finite"):
        factorize(matrix, TOTAL_ALONE)


@BOTH
def test_only_changes_that_the_constraints_allow_need_a_positive_matrix(constraints):
    """A neutralising background adds a negative constant to every pair of atoms of a crystal."""
    matrix, right, values = system()
    both = (OCCUPIED.unsqueeze(1) & OCCUPIED.unsqueeze(2)).double()
    solution, multipliers = solution_by(constraints)(matrix - 50.0 * both, right, values)
    expected, shifted = solution_by(constraints)(matrix, right, values)
    assert torch.linalg.eigvalsh(matrix - 50.0 * both).min() < 0
    assert torch.allclose(solution, expected, atol=1e-12)
    assert torch.allclose(multipliers[:, 0], shifted[:, 0] + 50.0 * values[:, 0], atol=1e-11)


def test_no_constraint_at_all_is_a_plain_solution():
    matrix, right, _ = system()
    free = Constraints(torch.zeros(2, 1, 4, dtype=torch.float64), torch.zeros(2, 1, dtype=torch.float64))
    solution, _ = solve_constrained(matrix, factorize(matrix, free), right, free.values)
    assert torch.allclose(solution, torch.linalg.solve(matrix, right), atol=1e-13)
