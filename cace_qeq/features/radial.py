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
    first = sine_quotient(angle) * normalisation(cutoff)
    return torch.stack(recurred(first, 2.0 * angle.cos(), n_radial), dim=-1)


def radial_functions(distance: Tensor, cutoff: float, n_radial: int) -> list[Tensor]:
    """The same times the polynomial envelope, one by one."""
    angle = distance.clamp(max=cutoff) * (math.pi / cutoff)
    first = sine_quotient(angle) * polynomial_envelope(distance, cutoff) * normalisation(cutoff)
    return recurred(first, 2.0 * angle.cos(), n_radial)


def radial_slopes(distance: Tensor, cutoff: float, n_radial: int) -> list[Tensor]:
    """Derivatives of `radial_functions` by the distance, Å^-5/2."""
    k = math.pi / cutoff
    angle = distance.clamp(max=cutoff) * k
    quotient, envelope = sine_quotient(angle), polynomial_envelope(distance, cutoff)
    slope = k * sine_quotient_slope(angle) * envelope + quotient * polynomial_envelope_slope(distance, cutoff)
    cosine, sine = angle.cos(), angle.sin()
    functions = recurred(quotient * envelope * normalisation(cutoff), 2.0 * cosine, n_radial)
    slopes = [slope * normalisation(cutoff)]
    for n in range(1, n_radial):
        higher = 2.0 * (cosine * slopes[-1] - k * sine * functions[n - 1])
        slopes.append(higher if n == 1 else higher - slopes[-2])
    return slopes


def normalisation(cutoff: float) -> float:
    return math.pi / cutoff * math.sqrt(2.0 / cutoff)


def recurred(first: Tensor, twice_cosine: Tensor, n_functions: int) -> list[Tensor]:
    """sin((n+1)θ) = 2 cos(θ) sin(nθ) - sin((n-1)θ), times anything: one sine and one cosine serve all orders."""
    functions = [first]
    for n in range(1, n_functions):
        higher = twice_cosine * functions[-1]
        functions.append(higher if n == 1 else higher - functions[-2])
    return functions


def sine_quotient(angle: Tensor) -> Tensor:
    """sin(θ)/θ with accurate first and second derivatives everywhere, θ = 0 included."""
    small = angle < SERIES_BELOW
    away_from_zero = torch.where(small, 1.0, angle)
    square = torch.where(small, angle, 0.0) ** 2
    series = torch.ones_like(square)
    for n in range(4, 0, -1):  # the first term left out, θ¹⁰/11!, is below 1e-17
        series = 1.0 - square * series / (2 * n * (2 * n + 1))
    return torch.where(small, series, away_from_zero.sin() / away_from_zero)


def sine_quotient_slope(angle: Tensor) -> Tensor:
    """Derivative of sin(θ)/θ, (cos(θ) - sin(θ)/θ) / θ, with the same care."""
    small = angle < SERIES_BELOW
    away_from_zero = torch.where(small, 1.0, angle)
    near = torch.where(small, angle, 0.0)
    series = torch.ones_like(near)
    for n in range(4, 0, -1):  # -θ/3 (1 - θ²/10 (1 - θ²/28 (..)))
        series = 1.0 - near**2 * series / (2 * n * (2 * n + 3))
    quotient = (away_from_zero.cos() - away_from_zero.sin() / away_from_zero) / away_from_zero
    return torch.where(small, -near / 3 * series, quotient)
