"""Laws of Gaussian charges: one pair, one reciprocal vector, one charge with itself, the background."""

import math
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from cace_qeq.units import COULOMB

Background = Literal["point", "gaussian"]


def gaussian_coulomb(squared_distance: Tensor, squared_width: Tensor) -> Tensor:
    """Interaction of two unit Gaussian charges, k_e erf(r / (√2 γ)) / r.

    squared_distance  (...)  Å², positive
    squared_width     (...)  Å², γ² = σ_a² + σ_b²; same shape
    returns           (...)  eV/e²
    """
    return COULOMB * _ErrorFunctionOverDistance.apply(squared_distance, squared_width)


def screened_gaussian_coulomb(squared_distance: Tensor, squared_width: Tensor, split: Tensor) -> Tensor:
    """What an Ewald sum leaves in real space, k_e [erfc(r / (√2 η)) - erfc(r / (√2 γ))] / r.

    squared_distance  (pair,)  Å², positive
    squared_width     (pair,)  Å², γ²
    split             (pair,)  Å, η, or one for all
    returns           (pair,)  eV/e²
    """
    return COULOMB * _ScreenedErrorFunction.apply(squared_distance, squared_width, split)


def reciprocal_amplitude(squared_k: Tensor, volume: Tensor, split: Tensor) -> Tensor:
    """Square root of one mode's weight, (8 π k_e / V) exp(-η² k² / 2) / k², for one of each pair ±k.

    squared_k  (structure, k)  1/Å², positive
    volume     (structure, 1)  Å³
    split      (structure, 1)  Å, η
    returns    (structure, k)  √eV/e
    """
    return (8 * math.pi * COULOMB / volume).sqrt() * (-(split**2) * squared_k / 4).exp() / squared_k.sqrt()


def self_interaction(width: Tensor) -> Tensor:
    """A Gaussian charge with itself, k_e / (√π σ): the limit r → 0 of a pair.

    width    (...)  Å, σ
    returns  (...)  eV/e²
    """
    return COULOMB / math.sqrt(math.pi) / width


def split_self_interaction(split: Tensor) -> Tensor:
    """What the reciprocal sum counts of a charge with itself, k_e √(2/π) / η.

    split    (...)  Å, η
    returns  (...)  eV/e²
    """
    return COULOMB * math.sqrt(2 / math.pi) / split


def refuse_unknown(background: str) -> None:
    """Raises ValueError for a background of another name."""
    if background not in get_args(Background):
        raise ValueError(f"background is {background!r}, expected one of {get_args(Background)}")


def background_interaction(volume: Tensor, split: Tensor, squared_width: Tensor, background: Background) -> Tensor:
    """A pair of charges with the uniform background that neutralises them; broadcasts.

    volume         Å³
    split          Å, η
    squared_width  Å², γ²
    background     "point": -2π k_e η² / V, which makes up for the real-space sum of point charges;
                   "gaussian": in addition 2π k_e γ² / V, so that the average potential is zero
    returns        eV/e²
    """
    if background == "point":
        return -2 * math.pi * COULOMB * split**2 / volume
    return 2 * math.pi * COULOMB * (squared_width - split**2) / volume


def slab_interaction(squared_height: Tensor, volume: Tensor, cell_height: Tensor) -> Tensor:
    """What a slab's images along its open direction, and their background, add to a pair: to be subtracted.

    The sum of these images at zero wave vector in the plane is 2π k_e / A (L/6 - |z| + z²/L), that of the slab
    alone is -2π k_e |z| / A: the difference is 2π k_e / V (z² + L²/6).

    squared_height  Å², z² of the pair along the normal
    volume          Å³, A L of the closed cell
    cell_height     Å, L
    returns         eV/e²

    Yeh & Berkowitz, doi 10.1063/1.479595; charged slabs: Ballenegger et al., doi 10.1063/1.3216473.
    """
    return 2 * math.pi * COULOMB / volume * (squared_height + cell_height**2 / 6)


class _ErrorFunctionOverDistance(torch.autograd.Function):
    """f = erf(r / (√2 γ)) / r of x = r² and s = γ².

    With G = √(2/π) exp(-x / 2s) / γ: df/dx = (G - f) / 2x and df/ds = -G / 2s. The backward is made of
    f itself and ordinary tensor operations, so derivatives of any order follow.
    """

    @staticmethod
    def forward(ctx: Any, squared_distance: Tensor, squared_width: Tensor) -> Tensor:
        value = (squared_distance / (2 * squared_width)).sqrt_().erf_().mul_(squared_distance.rsqrt())
        ctx.save_for_backward(squared_distance, squared_width, value)
        return value

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:
        (gradient,) = gradients
        squared_distance, squared_width, value = ctx.saved_tensors
        half = 0.5 / squared_width
        gaussian = _normal(squared_distance, half)
        by_distance = by_width = None
        if ctx.needs_input_grad[0]:
            by_distance = gradient * (gaussian - value) / (2 * squared_distance)
        if ctx.needs_input_grad[1]:
            by_width = -gradient * gaussian * half
        return by_distance, by_width


class _ScreenedErrorFunction(torch.autograd.Function):
    """f = [erf(r / (√2 γ)) - erf(r / (√2 η))] / r, the difference of two of the above in half of the operations."""

    @staticmethod
    def forward(ctx: Any, squared_distance: Tensor, squared_width: Tensor, split: Tensor) -> Tensor:
        inverse = squared_distance.rsqrt()
        distance = squared_distance * inverse
        value = (0.5 / squared_width).sqrt_().mul_(distance).erf_()
        value.sub_(distance.mul_(math.sqrt(0.5) / split).erf_()).mul_(inverse)
        ctx.save_for_backward(squared_distance, squared_width, split, value)
        return value

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        (gradient,) = gradients
        squared_distance, squared_width, split, value = ctx.saved_tensors
        narrow = _normal(squared_distance, 0.5 / squared_width)
        wide = _normal(squared_distance, 0.5 / split**2)
        by_distance = by_width = by_split = None
        if ctx.needs_input_grad[0]:
            by_distance = gradient * (narrow - wide - value) / (2 * squared_distance)
        if ctx.needs_input_grad[1]:
            by_width = -gradient * narrow / (2 * squared_width)
        if ctx.needs_input_grad[2]:
            by_split = (gradient * wide / split).sum_to_size(split.shape)
        return by_distance, by_width, by_split


def _normal(squared_distance: Tensor, half: Tensor) -> Tensor:
    """√(2/π) exp(-x / 2s) / √s with half = 1 / 2s"""
    return (half * (4 / math.pi)).sqrt() * (-squared_distance * half).exp()
