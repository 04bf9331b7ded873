"""Polynomials of the direction and their derivatives, both from the independent monomials."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from cace_qeq.features.harmonics import coefficient_tensor
from cace_qeq.features.monomials import Exponents, independent_exponents, independent_monomials


@dataclass(frozen=True, eq=False)
class AngularFunctions:
    """Independent monomials of unit vectors, or combinations of them.   (explicit_forces, eqs. X5 to X7)

    l_max         highest degree
    combinations  (function, monomial)              None where functions are the monomials
    derivatives   (3 · lower monomial, function)    of each function by x, y, z, in monomials below the highest degree
    """

    l_max: int
    combinations: Tensor | None
    derivatives: Tensor

    def __call__(self, direction: Tensor) -> Tensor:
        """direction (row, 3, slot) -> (row, function, slot)"""
        monomials = independent_monomials(direction, self.l_max, dim=1)
        return monomials if self.combinations is None else self.combinations @ monomials

    def gradient(self, direction: Tensor, weights: Tensor) -> Tensor:
        """Σ_f weights_f ∂f/∂u, (row, function, slot) -> (row, 3, slot)"""
        by_monomials = (self.derivatives @ weights).unflatten(1, (3, -1))
        return by_monomials.mul_(self.lower(direction).unsqueeze(1)).sum(2)

    def changes(self, direction: Tensor, turn: Tensor) -> Tensor:
        """Of the functions when directions change, (row, 3, slot) -> (row, function, slot)"""
        return self.derivatives.T @ (turn.unsqueeze(2) * self.lower(direction).unsqueeze(1)).flatten(1, 2)

    def lower(self, direction: Tensor) -> Tensor:
        """Monomials below the highest degree."""
        return independent_monomials(direction, max(self.l_max - 1, 0), dim=1)


@cache
@torch.inference_mode(False)
def angular_monomials(l_max: int, dtype: torch.dtype, device: torch.device) -> AngularFunctions:
    return AngularFunctions(l_max, None, monomial_derivatives(l_max).to(device, dtype))


@cache
@torch.inference_mode(False)
def angular_harmonics(l_max: int, dtype: torch.dtype, device: torch.device) -> AngularFunctions:
    combinations = coefficient_tensor(l_max, torch.float64, torch.device("cpu"))
    derivatives = monomial_derivatives(l_max) @ combinations.T
    return AngularFunctions(l_max, combinations.to(device, dtype), derivatives.to(device, dtype))


def monomial_derivatives(l_max: int) -> Tensor:
    """(3 · lower monomial, monomial)  ∂M_m/∂u_x = i M_(i-1, j, k), by direction x, y, z; float64"""
    upper, below = independent_exponents(l_max), independent_exponents(max(l_max - 1, 0))
    rows = [[m[axis] * (lowered(m, axis) == lower) for m in upper] for axis in range(3) for lower in below]
    return torch.tensor(rows, dtype=torch.float64)


def lowered(exponents: Exponents, axis: int) -> Exponents:
    x, y, z = (exponent - (axis == index) for index, exponent in enumerate(exponents))
    return x, y, z
