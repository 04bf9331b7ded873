"""Packed monomials: the components of the symmetric tensors u ⊗ u ⊗ .. ⊗ u, each once.   (theory, eq. 4)"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Exponents = tuple[int, int, int]


def n_monomials(l_max: int) -> int:
    """Number of monomials of degree 0 to l_max."""
    return math.comb(l_max + 3, 3)


@cache
def rank_exponents(rank: int) -> tuple[Exponents, ...]:
    """Exponents (i, j, k) of one degree; of degree 2: 200, 110, 101, 020, 011, 002."""
    return tuple((i, j, rank - i - j) for i in range(rank, -1, -1) for j in range(rank - i, -1, -1))


@cache
def monomial_exponents(l_max: int) -> tuple[Exponents, ...]:
    """Exponents of every degree from 0 to l_max, the order of the monomial axis everywhere."""
    return tuple(exponents for rank in range(l_max + 1) for exponents in rank_exponents(rank))


def degrees(l_max: int) -> tuple[int, ...]:
    """Degree of each monomial."""
    return tuple(sum(exponents) for exponents in monomial_exponents(l_max))


def multiplicity(exponents: Exponents) -> int:
    """Number of components of the dense tensor that one packed component stands for, l! / (i! j! k!)."""
    return math.factorial(sum(exponents)) // math.prod(map(math.factorial, exponents))


def monomials(direction: Tensor, l_max: int, dim: int = -1) -> Tensor:
    """Products x^i y^j z^k of degree 0 to l_max, each degree from the one before.

    direction  (..., 3)         the components along `dim`
    returns    (..., monomial)  likewise, in the order of monomial_exponents
    """
    x, y, z = direction.split(1, dim)
    blocks = [torch.ones_like(x)]
    for degree in range(1, l_max + 1):
        # the last `degree` monomials of a block hold no x, the very last one holds z alone
        block, size = blocks[-1], blocks[-1].shape[dim]
        without_x, power_of_z = block.narrow(dim, size - degree, degree), block.narrow(dim, size - 1, 1)
        blocks.append(torch.cat([x * block, y * without_x, z * power_of_z], dim=dim))
    return torch.cat(blocks, dim=dim)


@cache
def independent_exponents(l_max: int) -> tuple[Exponents, ...]:
    """Exponents of the monomials without z², degree by degree, 2l + 1 of each: z x^i y^j after x^i y^j.

    On the unit sphere z² = 1 − x² − y², so that they span all polynomials.   (explicit_forces, eq. X7)
    """
    return tuple(
        (degree - power - j, j, power)
        for degree in range(l_max + 1)
        for power in (0, 1)
        for j in range(degree - power + 1)
    )


def independent_monomials(direction: Tensor, l_max: int, dim: int = -1) -> Tensor:
    """Products x^i y^j and z x^i y^j, each degree from the one before.

    direction  (..., 3)         unit vectors, the components along `dim`
    returns    (..., monomial)  likewise, in the order of independent_exponents
    """
    x, y, z = direction.chunk(3, dim)
    plane = direction.narrow(dim, 0, 2)
    blocks = [torch.ones_like(x), direction][: l_max + 1]
    for _ in range(1, l_max):
        lower, plane = plane, torch.cat([x * plane, y * plane.narrow(dim, plane.shape[dim] - 1, 1)], dim=dim)
        blocks += [plane, z * lower]
    return torch.cat(blocks, dim=dim)


@cache
def restoration(l_max: int) -> NDArray[np.float64]:
    """All monomials of unit vectors from the independent ones, M_m = Σ_f restoration[m, f] F_f.

    returns  (monomial, independent monomial)
    """
    column = {exponents: place for place, exponents in enumerate(independent_exponents(l_max))}

    def row(exponents: Exponents) -> NDArray[np.float64]:
        i, j, k = exponents
        if k < 2:
            return np.eye(len(column))[column[exponents]]
        return row((i, j, k - 2)) - row((i + 2, j, k - 2)) - row((i, j + 2, k - 2))

    return np.array([row(exponents) for exponents in monomial_exponents(l_max)])
