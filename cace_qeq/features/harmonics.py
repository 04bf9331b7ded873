"""Harmonic polynomials: the traceless parts of the packed monomials, from integrals over the sphere alone."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cace_qeq.features.monomials import Exponents, monomial_exponents, rank_exponents, restoration

Floats = NDArray[np.float64]
SMALLEST_NEW_PART = 1e-6  # of a polynomial's mean square; those that depend on earlier ones leave 1e-15


def n_harmonics(l_max: int) -> int:
    """Number of harmonic polynomials of degree 0 to l_max, 2l + 1 of each."""
    return (l_max + 1) ** 2


def harmonic_degrees(l_max: int) -> tuple[int, ...]:
    """Degree of each harmonic polynomial."""
    return tuple(degree for degree in range(l_max + 1) for _ in range(2 * degree + 1))


def harmonics(independent: Tensor, l_max: int) -> Tensor:
    """Harmonic polynomials of unit vectors from their independent monomials.

    independent  (..., monomial)  of degree 0 to l_max
    returns      (..., harmonic)  stored harmonic by harmonic
    """
    coefficients = coefficient_tensor(l_max, independent.dtype, independent.device)
    return torch.tensordot(coefficients, independent.movedim(-1, 0), 1).movedim(0, -1)


@cache
@torch.inference_mode(False)
def coefficient_tensor(l_max: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(harmonic, independent monomial)  `harmonic_coefficients` on the unit sphere."""
    return torch.from_numpy(harmonic_coefficients(l_max) @ restoration(l_max)).to(device, dtype)


@cache
def harmonic_coefficients(l_max: int) -> Floats:
    """Homogeneous harmonic polynomials Y_k = Σ_m coefficients[k, m] M_m.

    returns  (harmonic, monomial)  orthonormal: the mean of Y_k Y_k' over the sphere is δ_kk'; of degree 1 they
             are √3 x, √3 y, √3 z
    """
    blocks = [harmonics_of_degree(degree) for degree in range(l_max + 1)]
    coefficients = np.zeros((n_harmonics(l_max), len(monomial_exponents(l_max))))
    row = column = 0
    for block in blocks:
        coefficients[row : row + block.shape[0], column : column + block.shape[1]] = block
        row, column = row + block.shape[0], column + block.shape[1]
    return coefficients


def harmonics_of_degree(degree: int) -> Floats:
    """(2l + 1, monomial)  what the monomials of a degree hold beyond r² times those of degree − 2.

    On the sphere the latter span all polynomials of lower degree and equal parity; whatever is orthogonal to
    these is harmonic.   (equivariant, eq. E1)
    """
    exponents = rank_exponents(degree)
    overlap = np.array([[sphere_mean(added(p, q)) for q in exponents] for p in exponents])
    lower = [times_squared_radius(powers) for powers in rank_exponents(degree - 2)] if degree > 1 else []
    basis: list[Floats] = []
    for polynomial in [*lower, *np.eye(len(exponents))]:
        for _ in range(2):  # the second pass removes what rounding left behind
            for other in basis:
                polynomial = polynomial - (other @ overlap @ polynomial) * other
        square = polynomial @ overlap @ polynomial
        if square > SMALLEST_NEW_PART * overlap.diagonal().min():
            basis.append(polynomial / math.sqrt(square))
    return np.array(basis[len(lower) :])


def times_squared_radius(powers: Exponents) -> Floats:
    """(monomial,)  x² + y² + z² times a monomial, among the monomials two degrees higher."""
    exponents = rank_exponents(sum(powers) + 2)
    product = np.zeros(len(exponents))
    for square in rank_exponents(2):
        if max(square) == 2:
            product[exponents.index(added(powers, square))] = 1.0
    return product


def added(first: Exponents, second: Exponents) -> Exponents:
    return (first[0] + second[0], first[1] + second[1], first[2] + second[2])


def sphere_mean(powers: Exponents) -> float:
    """Mean of x^i y^j z^k over the unit sphere.   (equivariant, eq. E2)"""
    if any(power % 2 for power in powers):
        return 0.0
    return math.prod(odd_factorial(power - 1) for power in powers) / odd_factorial(sum(powers) + 1)


def odd_factorial(number: int) -> int:
    """n!! = n (n−2) .. 1 of an odd number; (−1)!! = 1."""
    return math.prod(range(number, 0, -2))
