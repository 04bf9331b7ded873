"""Cardinal B-splines: how a point charge is shared among mesh points, and how that shows in reciprocal space.

Essmann et al., J. Chem. Phys. 103, 8577 (1995), doi 10.1063/1.470117.
"""

from fractions import Fraction
from functools import lru_cache
from math import comb, factorial

import torch
from torch import Tensor


def spline_weights(fraction: Tensor, order: int) -> Tensor:
    """M_p(t + j), the share of a charge that the mesh point j steps behind it receives; they add up to one.

    fraction  (...)         t, place between two mesh points, 0 ≤ t < 1
    order                   p, number of points along each direction; p - 2 continuous derivatives
    returns   (..., order)  j = 0 .. p - 1
    """
    centred = fraction - 0.5
    powers = [torch.ones_like(centred)]
    for _ in range(order - 1):
        powers.append(powers[-1] * centred)
    return torch.stack(powers, dim=-1) @ _coefficients(order).to(fraction)


@lru_cache
@torch.inference_mode(False)  # what is kept must serve gradients later
def wave_response(n_points: int, order: int) -> Tensor:
    """1 / Σ_l sinc²ᵖ(π(m/n + l)): what splines take from the wave m of a mesh, given back.   (solvers, eq. S2)

    The sum is that of the spline of order 2p over integers, so it needs no truncation. Charges at random places then
    interact with themselves as in the exact sum, on average, which removes most of the error of the energy.

    returns  (n_points,)  float64, in the order of a discrete Fourier transform; zero where a wave has no partner -m
    """
    knots = torch.tensor([float(_spline(2 * order, Fraction(k))) for k in range(1, 2 * order)], dtype=torch.float64)
    steps = torch.arange(1 - order, order, dtype=torch.float64)
    waves = torch.arange(n_points, dtype=torch.float64).unsqueeze(1) * steps / n_points
    inverse = 1 / ((2 * torch.pi * waves).cos() @ knots)
    if n_points % 2 == 0:
        inverse[n_points // 2] = 0.0
    return inverse


def _spline(order: int, place: Fraction) -> Fraction:
    """M_p(x)"""
    terms = ((-1) ** k * comb(order, k) * (place - k) ** (order - 1) for k in range(order + 1) if place > k)
    return sum(terms, Fraction(0)) / factorial(order - 1)


@lru_cache
@torch.inference_mode(False)
def _coefficients(order: int) -> Tensor:
    """[power][j] of M_p(t + j) as a polynomial in t - 1/2, where it is best conditioned."""
    half, degree = Fraction(1, 2), order - 1
    table = [[Fraction(0)] * order for _ in range(order)]
    for j in range(order):
        for k in range(j + 1):
            scale = Fraction((-1) ** k * comb(order, k), factorial(degree))
            for power in range(order):
                table[power][j] += scale * comb(degree, power) * (half + j - k) ** (degree - power)
    return torch.tensor([[float(value) for value in row] for row in table], dtype=torch.float64)
