"""Harmonic polynomials: right number, orthonormal, harmonic."""

import numpy as np
import pytest
import torch

from cace_qeq.features import harmonic_degrees, harmonics, independent_monomials, monomial_exponents, n_harmonics
from cace_qeq.features.harmonics import harmonic_coefficients, sphere_mean


@pytest.mark.parametrize("l_max", [0, 1, 4, 6])
def test_orthonormal_on_the_sphere(l_max):
    coefficients, exponents = harmonic_coefficients(l_max), monomial_exponents(l_max)
    overlap = np.array([[sphere_mean(tuple(np.add(p, q))) for q in exponents] for p in exponents])
    identity = np.eye(n_harmonics(l_max))
    np.testing.assert_allclose(coefficients @ overlap @ coefficients.T, identity, atol=1e-12)


def laplacian_of_monomials(l_max: int) -> np.ndarray:
    """(monomial, monomial)  Δ x^i y^j z^k = i (i−1) x^(i−2) y^j z^k + ..; a row for each monomial"""
    exponents = monomial_exponents(l_max)
    matrix = np.zeros((len(exponents), len(exponents)))
    for row, powers in enumerate(exponents):
        for axis, power in enumerate(powers):
            if power > 1:
                lowered = tuple(p - 2 * (axis == other) for other, p in enumerate(powers))
                matrix[row, exponents.index(lowered)] += power * (power - 1)
    return matrix


@pytest.mark.parametrize("l_max", [2, 3, 6])
def test_laplacian_vanishes(l_max):
    """Coefficients are of order 100 at degree 6."""
    laplacian = harmonic_coefficients(l_max) @ laplacian_of_monomials(l_max)
    np.testing.assert_allclose(laplacian, np.zeros_like(laplacian), atol=1e-10)


def test_degree_one_is_the_vector():
    direction = torch.tensor([0.1, -0.7, 0.4], dtype=torch.float64)
    torch.testing.assert_close(harmonics(independent_monomials(direction, 1), 1)[1:], 3**0.5 * direction)


def test_addition_theorem():
    """Σ_k Y_k(u) Y_k(v) over one degree is (2l + 1) P_l(u·v), whatever the choice of polynomials."""
    u, v = torch.nn.functional.normalize(
        torch.randn(2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)), dim=1
    )
    products = harmonics(independent_monomials(u, 4), 4) * harmonics(independent_monomials(v, 4), 4)
    for degree in range(5):
        legendre = np.polynomial.legendre.Legendre.basis(degree)(float(u @ v))
        mine = products[torch.tensor(harmonic_degrees(4)) == degree].sum()
        assert mine.item() == pytest.approx((2 * degree + 1) * legendre, abs=1e-12)


def test_means_over_the_sphere():
    """Known moments of a unit vector: ⟨x²⟩ = 1/3, ⟨x²y²⟩ = 1/15, ⟨x⁴⟩ = 1/5, odd ones vanish."""
    assert sphere_mean((0, 2, 0)) == pytest.approx(1 / 3)
    assert sphere_mean((2, 2, 0)) == pytest.approx(1 / 15)
    assert sphere_mean((4, 0, 0)) == pytest.approx(1 / 5)
    assert sphere_mean((2, 1, 0)) == 0.0
