import pytest
import torch

from cace_qeq.electrostatics.solvers import factorize, solve_constrained

OCCUPIED = torch.tensor([[True, True, True, True], [True, True, False, False]])


def system(seed: int = 0):
    """Positive definite matrices of unequal size, the identity in padding, and right-hand sides."""
    generator = torch.Generator().manual_seed(seed)
    roots = torch.randn(2, 4, 4, generator=generator, dtype=torch.float64)
    both = OCCUPIED.unsqueeze(1) & OCCUPIED.unsqueeze(2)
    matrix = (roots @ roots.transpose(1, 2) + 2 * torch.eye(4)) * both + torch.diag_embed(~OCCUPIED).double()
    right = torch.randn(2, 4, generator=generator, dtype=torch.float64) * OCCUPIED
    return matrix, right, torch.randn(2, generator=generator, dtype=torch.float64)


def solved(root, right, total):
    """Of a symmetrised matrix, so that finite differences may change any element."""
    matrix = (root + root.transpose(1, 2)) / 2
    return solve_constrained(matrix, factorize(matrix, OCCUPIED), right * OCCUPIED, total)


def bordered(matrix, right, total):
    """[[K, 1], [1ᵀ, 0]] [x; μ] = [b; c] solved as one dense system."""
    constraint = OCCUPIED.double().unsqueeze(-1)
    top = torch.cat([matrix, constraint], dim=2)
    bottom = torch.cat([constraint.transpose(1, 2), torch.zeros(2, 1, 1, dtype=torch.float64)], dim=2)
    right = torch.cat([right, total.unsqueeze(-1)], dim=1)
    solution = torch.linalg.solve(torch.cat([top, bottom], dim=1), right)
    return solution[:, :-1], solution[:, -1]


def test_solution_is_that_of_the_bordered_system():
    matrix, right, total = system()
    found = solve_constrained(matrix, factorize(matrix, OCCUPIED), right, total)
    for one, other in zip(found, bordered(matrix, right, total), strict=True):
        assert torch.allclose(one, other, atol=1e-13)
    assert torch.allclose(found[0].sum(1), total, atol=1e-13)


def test_padding_stays_empty():
    matrix, right, total = system()
    solution, _ = solve_constrained(matrix, factorize(matrix, OCCUPIED), right, total)
    assert not solution[~OCCUPIED].any()


def test_derivatives_of_first_and_second_order():
    inputs = tuple(value.requires_grad_() for value in system())
    assert torch.autograd.gradcheck(solved, inputs)
    assert torch.autograd.gradgradcheck(solved, inputs)


def test_third_derivative_is_that_of_the_bordered_system():
    direction, right, total = system(seed=1)
    matrix, _, _ = system(seed=0)

    def third(solve):
        step = torch.zeros((), dtype=torch.float64, requires_grad=True)
        derivative = solve(matrix + step * direction, right, total)[0].square().sum()
        for _ in range(3):
            (derivative,) = torch.autograd.grad(derivative, step, create_graph=True)
        return float(derivative.detach())

    assert third(solved) == pytest.approx(third(bordered), rel=1e-10)


def test_indefinite_matrix_is_explained():
    matrix, _, _ = system()
    matrix[1, 0, 0] = -3.0
    with pytest.raises(ValueError, match="structure 1 .* is not positive definite"):
        factorize(matrix, OCCUPIED)


def test_numbers_that_are_not_finite_are_explained():
    matrix, _, _ = system()
    matrix[0, 1, 1] = torch.nan
    with pytest.raises(ValueError, match="structure 0 .* not finite"):
        factorize(matrix, OCCUPIED)


def test_only_changes_that_add_up_to_zero_need_a_positive_matrix():
    """A neutralising background adds a negative constant to every pair of atoms of a crystal."""
    matrix, right, total = system()
    both = (OCCUPIED.unsqueeze(1) & OCCUPIED.unsqueeze(2)).double()
    lowered = matrix - 50.0 * both
    solution, multiplier = solve_constrained(lowered, factorize(lowered, OCCUPIED), right, total)
    expected, shifted = solve_constrained(matrix, factorize(matrix, OCCUPIED), right, total)
    assert torch.linalg.eigvalsh(lowered).min() < 0
    assert torch.allclose(solution, expected, atol=1e-12)
    assert torch.allclose(multiplier, shifted + 50.0 * total, atol=1e-11)
