"""Radial basis.   (theory, eq. 2)"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from cace_qeq.features.cutoff import envelope, envelope_slope, reduced

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


@dataclass(frozen=True, eq=False)
class RadialFunctions:
    """Bessel functions times the envelope f, c_n sin(n π x) f(x) / r with x = r / rc; not for tiny distances.

    cutoff      Å
    angles      (radial, 1)  n π
    amplitudes  (radial, 1)  Å^-1/2, c_n
    """

    cutoff: float
    angles: Tensor
    amplitudes: Tensor

    def __call__(self, distance: Tensor) -> Tensor:
        """distance (row, 1, slot) Å -> (row, radial, slot) Å^-3/2"""
        x = reduced(distance, self.cutoff)
        return (x * self.angles).sin() * self.amplitudes * (envelope(x) / distance)

    def slopes(self, distance: Tensor) -> Tensor:
        """Derivatives by the distance, Å^-5/2; beyond 0.01 Å with half the digits or more."""
        x = reduced(distance, self.cutoff)
        angle, factor = x * self.angles, envelope(x) / distance
        of_factor = (envelope_slope(x) / self.cutoff - factor) / distance
        of_sine = angle.cos() * self.angles
        return torch.addcmul(angle.sin() * of_factor, of_sine, factor / self.cutoff) * self.amplitudes


@cache
@torch.inference_mode(False)
def radial_functions(
    cutoff: float, n_radial: int, equal_slopes: bool, dtype: torch.dtype, device: torch.device
) -> RadialFunctions:
    """Orthonormal ones, or these divided by n: all then have slopes of equal size."""
    n = torch.arange(1, n_radial + 1, dtype=torch.float64).unsqueeze(1)
    amplitudes = math.sqrt(2.0 / cutoff) / n if equal_slopes else torch.full_like(n, math.sqrt(2.0 / cutoff))
    return RadialFunctions(cutoff, (n * math.pi).to(device, dtype), amplitudes.to(device, dtype))
