import math

import numpy as np
import pytest
import torch

from cace_qeq.features import bessel_basis, polynomial_envelope
from cace_qeq.features.radial import radial_functions

CUTOFF = 5.5


def direct(distance: torch.Tensor, n_radial: int) -> torch.Tensor:
    n = torch.arange(1, n_radial + 1, dtype=distance.dtype)
    angle = distance.unsqueeze(-1) * n * math.pi / CUTOFF
    return math.sqrt(2 / CUTOFF) * angle.sin() / distance.unsqueeze(-1)


def test_basis_is_orthonormal():
    distance, weight = gauss_legendre(64)
    functions = bessel_basis(distance, CUTOFF, 8)
    overlap = torch.einsum("r,rn,rk->nk", weight * distance**2, functions, functions)
    torch.testing.assert_close(overlap, torch.eye(8, dtype=torch.float64), rtol=0, atol=1e-12)


def gauss_legendre(n_points: int) -> tuple[torch.Tensor, torch.Tensor]:
    points, weights = np.polynomial.legendre.leggauss(n_points)
    return torch.from_numpy((points + 1) * CUTOFF / 2), torch.from_numpy(weights * CUTOFF / 2)


def test_basis_equals_its_definition():
    distance = torch.linspace(0.01, CUTOFF, 500, dtype=torch.float64)
    torch.testing.assert_close(  # the recurrence over n loses about n² units in the last place
        bessel_basis(distance, CUTOFF, 12), direct(distance, 12), rtol=0, atol=1e-12
    )


def test_derivatives_equal_those_of_the_definition():
    distance = torch.linspace(0.05, 5.4, 50, dtype=torch.float64, requires_grad=True)
    weight = torch.linspace(-1, 1, 8, dtype=torch.float64)
    for function in (bessel_basis(distance, CUTOFF, 8), direct(distance, 8)):
        (slope,) = torch.autograd.grad((function @ weight).sum(), distance, create_graph=True)
        (curvature,) = torch.autograd.grad(slope.sum(), distance)
        torch.testing.assert_close(slope, slope_of_definition(distance, weight), rtol=0, atol=1e-10)
        # the direct quotient loses (r/Å)^-2 of the digits near 0.05 Å
        torch.testing.assert_close(curvature, curvature_of_definition(distance, weight), rtol=0, atol=1e-9)


def slope_of_definition(distance: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    k = torch.arange(1, 9, dtype=torch.float64) * math.pi / CUTOFF
    r = distance.detach().unsqueeze(-1)
    return math.sqrt(2 / CUTOFF) * ((k * r).cos() * k / r - (k * r).sin() / r**2) @ weight


def curvature_of_definition(distance: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    k = torch.arange(1, 9, dtype=torch.float64) * math.pi / CUTOFF
    r = distance.detach().unsqueeze(-1)
    terms = -(k**2) * (k * r).sin() / r - 2 * k * (k * r).cos() / r**2 + 2 * (k * r).sin() / r**3
    return math.sqrt(2 / CUTOFF) * terms @ weight


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("distance", [0.0, 1e-30, 1e-12, 1e-6, 1e-3])
def test_basis_and_its_derivatives_are_finite_at_tiny_distances(distance, dtype):
    r = torch.tensor([distance], dtype=dtype, requires_grad=True)
    value = bessel_basis(r, CUTOFF, 8)
    (slope,) = torch.autograd.grad(value.sum(), r, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), r)
    n = torch.arange(1, 9, dtype=dtype)
    limit = math.sqrt(2 / CUTOFF) * n * math.pi / CUTOFF
    torch.testing.assert_close(value[0], limit, rtol=1e-5, atol=0)
    expected = -math.sqrt(2 / CUTOFF) * ((n * math.pi / CUTOFF) ** 3).sum() / 3
    torch.testing.assert_close(curvature[0], expected, rtol=1e-4, atol=0)
    torch.testing.assert_close(slope[0], expected * distance, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_padding_contributes_exact_zeros(dtype):
    distance = torch.tensor([CUTOFF + 1e-6, 1000.0], dtype=dtype, requires_grad=True)
    value = bessel_basis(distance, CUTOFF, 8) * polynomial_envelope(distance, CUTOFF).unsqueeze(-1)
    (slope,) = torch.autograd.grad(value.sum(), distance, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), distance)
    assert not value.any() and not slope.any() and not curvature.any()


@pytest.mark.parametrize("equal_slopes", [False, True])
def test_functions_with_envelope_and_their_slopes(equal_slopes):
    distance = torch.linspace(0.05, 6.0, 60, dtype=torch.float64).requires_grad_()
    product = bessel_basis(distance, CUTOFF, 8) * polynomial_envelope(distance, CUTOFF).unsqueeze(-1)
    if equal_slopes:
        product = product / torch.arange(1, 9)
    row = distance.view(1, 1, -1)
    functions = radial_functions(CUTOFF, 8, equal_slopes, torch.float64, torch.device("cpu"))
    torch.testing.assert_close(functions(row)[0].T, product, rtol=0, atol=1e-13)
    for function, slope in zip(product.T, functions.slopes(row)[0], strict=True):
        (expected,) = torch.autograd.grad(function.sum(), distance, retain_graph=True)
        torch.testing.assert_close(slope, expected, rtol=0, atol=1e-11)
