"""Products in the spatial domain: polynomials on the sphere at the points of an exact quadrature.

Luo, Chen & Krishnapriyan, arXiv 2401.10216, multiply functions on the sphere in a Fourier basis.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.integrate import lebedev_rule
from torch import Tensor

from cace_qeq.features.columns import evaluated
from cace_qeq.features.harmonics import harmonics, n_harmonics
from cace_qeq.features.monomials import independent_monomials

Floats = NDArray[np.float64]

LEBEDEV_DEGREES = (3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31, 35, 41, 47)
"""Degrees of the rules up to what seven factors of degree six can ask for."""


@dataclass(frozen=True)
class SphereRule:
    """Mean over the sphere as a weighted sum over points, exact for polynomials up to a degree.

    points   (point, 3)
    weights  (point,)    sum to 1
    """

    degree: int
    points: Floats
    weights: Floats


@cache
def sphere_rule(degree: int) -> SphereRule:
    """The Lebedev rule with the fewest points that is exact to a degree.

    Lebedev & Laikov, Doklady Mathematics 59, 477 (1999).

    Raises ValueError for a degree beyond the tables.
    """
    if degree > LEBEDEV_DEGREES[-1]:
        raise ValueError(
            f"no quadrature of degree {degree} is tabulated, {LEBEDEV_DEGREES[-1]} is the largest; "
            "lower body_order or l_max."
        )
    exact = next(known for known in LEBEDEV_DEGREES if known >= degree)
    points, weights = lebedev_rule(exact)
    return SphereRule(exact, points.T, weights / weights.sum())


@dataclass(frozen=True, eq=False)
class SphereProducts:
    """Powers of polynomials on the sphere, up to an order, and their components up to a rank.

    evaluation  (point, harmonic)   components of degree <= l_max to values
    projection  (component, point)  values to components of degree <= rank

    With a rule exact to order · l_max + rank they are exact.   (equivariant, eqs. E6, E7)
    """

    order: int
    evaluation: Tensor
    projection: Tensor

    @property
    def block_columns(self) -> int:
        return 2048  # measured flat up to 8192

    def __call__(self, harmonic: Tensor) -> Tensor:
        """Components of the powers 1 to `order` of functions, each a column.

        harmonic  (harmonic, column)
        returns   (power, component, column)
        """
        return evaluated(harmonic, self).unflatten(0, (self.order, -1))

    def evaluate(self, rows: Tensor) -> Tensor:
        values = self.evaluation @ rows
        outputs, power = [rows[: len(self.projection)]], values
        for _ in range(1, self.order):
            power = power * values
            outputs.append(self.projection @ power)
        return torch.cat(outputs)

    def gradient(self, rows: Tensor, weights: Tensor) -> Tensor:
        """Eᵀ Σ_j j v^(j-1) (Pᵀ g_j) with values v = E A, by Horner's rule; the first power is projected exactly."""
        values = self.evaluation @ rows
        first, *others = self.back_projected(weights)
        slope = torch.zeros_like(values)
        for power, weight in reversed(list(enumerate(others, start=2))):
            slope = slope.add_(weight, alpha=power).mul_(values)
        result = self.evaluation.T @ slope
        result[: len(first)] += first
        return result

    def gradient_along(self, rows: Tensor, weights: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
        values, change = self.evaluation @ rows, self.evaluation @ direction
        _, *others = self.back_projected(weights)
        curvature, changes, power = torch.zeros_like(values), [direction[: len(self.projection)]], change
        for order, weight in reversed(list(enumerate(others, start=2))):
            curvature = curvature * values + order * (order - 1) * weight
        for order in range(2, self.order + 1):
            power = power * values
            changes.append(order * (self.projection @ power))
        return self.evaluation.T @ (curvature * change), torch.cat(changes)

    def back_projected(self, weights: Tensor) -> list[Tensor]:
        """Weights of the components of the first power, then those of the values of the others."""
        first, *others = weights.chunk(self.order)
        return [first, *(self.projection.T @ weight for weight in others)]

    def __deepcopy__(self, memo: dict[int, Any]) -> SphereProducts:
        """Itself, so that copies of a model share what `to` has made."""
        return self

    @cache  # noqa: B019  tables are few and live as long as the process
    @torch.inference_mode(False)
    def to(self, dtype: torch.dtype, device: torch.device) -> SphereProducts:
        """The same for columns of another precision or on another device."""
        return SphereProducts(self.order, self.evaluation.to(device, dtype), self.projection.to(device, dtype))


def required_degree(l_max: int, order: int, rank: int) -> int:
    """Degree of the integrand: `order` polynomials of degree l_max and one of degree rank."""
    return order * l_max + rank


@cache
@torch.inference_mode(False)
def sphere_products(l_max: int, order: int, rank: int, degree: int | None = None) -> SphereProducts:
    """The tables, float64.

    rank    at most l_max
    degree  that the quadrature must have; by default what exactness needs

    Raises ValueError for a quadrature that is not exact: it would break rotation symmetry.
    """
    needed = required_degree(l_max, order, rank)
    if degree is not None and degree < needed:
        raise ValueError(
            f"a quadrature of degree {degree} is not exact for products of {order} polynomials of degree {l_max} "
            f"projected on rank {rank}, which breaks rotation symmetry; it takes degree {needed} (the default)."
        )
    rule = sphere_rule(needed if degree is None else degree)
    values = harmonics(independent_monomials(torch.from_numpy(rule.points), l_max), l_max)
    weighted = values * torch.from_numpy(rule.weights).unsqueeze(1)
    return SphereProducts(order, values.contiguous(), weighted[:, : n_harmonics(rank)].T.contiguous())
