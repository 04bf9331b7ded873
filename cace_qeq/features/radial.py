"""Radial basis."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from cace_qeq.features.cutoff import polynomial_envelope, polynomial_envelope_slope

SERIES_BELOW = 0.1
"""Angle below which sin(θ)/θ is a series: the quotient's second derivative loses all digits as θ → 0."""


def bessel_basis(distance: Tensor, cutoff: float, n_radial: int) -> Tensor:
    """Spherical Bessel functions of order zero with a node at the cutoff, √(2/rc) sin(n π r / rc) / r.

    distance  (...)            Å
    cutoff    Å
    n_radial  number of functions
    returns   (..., n_radial)  Å^-3/2, finite and twice differentiable down to r = 0; constant beyond the
              cutoff, where the envelope that they are multiplied by is zero

    Gasteiger et al., ICLR 2020, arXiv 2003.03123, eq. 7.
    """
    angle = distance.clamp(max=cutoff) * (math.pi / cutoff)
    twice_cosine = 2.0 * angle.cos()
    functions = [sine_quotient(angle) * (math.pi / cutoff * math.sqrt(2.0 / cutoff))]
    for n in range(1, n_radial):
        # sin((n+1)θ) = 2 cos(θ) sin(nθ) - sin((n-1)θ): one sine and one cosine serve all orders
        higher = twice_cosine * functions[-1]
        functions.append(higher if n == 1 else higher - functions[-2])
    return torch.stack(functions, dim=-1)


def sine_quotient(angle: Tensor) -> Tensor:
    """sin(θ)/θ with accurate first and second derivatives everywhere, θ = 0 included."""
    small = angle < SERIES_BELOW
    away_from_zero = torch.where(small, 1.0, angle)
    square = torch.where(small, angle, 0.0) ** 2
    series = torch.ones_like(square)
    for n in range(4, 0, -1):  # the first term left out, θ¹⁰/11!, is below 1e-17
        series = 1.0 - square * series / (2 * n * (2 * n + 1))
    return torch.where(small, series, away_from_zero.sin() / away_from_zero)


def radial_functions(distance: Tensor, cutoff: float, n_radial: int) -> Tensor:
    """The Bessel functions times the polynomial envelope, in few operations; for distances of atoms, not tiny ones.

    distance  (row, 1, slot)         Å
    returns   (row, radial, slot)    Å^-3/2
    """
    angle = distance.clamp(max=cutoff) * wave_numbers(cutoff, n_radial, distance)
    return angle.sin() * (polynomial_envelope(distance, cutoff) * math.sqrt(2.0 / cutoff) / distance)


def radial_slopes(distance: Tensor, cutoff: float, n_radial: int) -> Tensor:
    """Derivatives of `radial_functions` by the distance, Å^-5/2; beyond 0.01 Å with half the digits or more."""
    k = wave_numbers(cutoff, n_radial, distance)
    angle, scale = distance.clamp(max=cutoff) * k, math.sqrt(2.0 / cutoff)
    factor = polynomial_envelope(distance, cutoff) * scale / distance
    slope = (polynomial_envelope_slope(distance, cutoff) * scale - factor) / distance
    return angle.cos() * k * factor + angle.sin() * slope


def wave_numbers(cutoff: float, n_radial: int, like: Tensor) -> Tensor:
    """(radial, 1)  1/Å, n π / rc"""
    return torch.arange(1, n_radial + 1, dtype=like.dtype, device=like.device).unsqueeze(1) * (math.pi / cutoff)
