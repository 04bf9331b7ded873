"""Bilinear forms x.A y, and their sum.

A form holds the tensors that it depends on, with their gradients. Solvers see constants: products with A, or A itself
where it is small. Derivatives of any order come from `gradients`, which are ordinary tensor operations without A, and
of charges that are given from `energy`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Form(Protocol):
    """One symmetric part of a matrix."""

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        """What the form depends on."""

    def product(self, charges: Tensor) -> Tensor:
        """A x, a constant.  (atom,) -> (atom,)"""

    def add_to(self, matrix: Tensor) -> None:
        """Add A, a constant, to a matrix, (atom, atom)."""

    def gradients(self, left: Tensor, right: Tensor) -> tuple[Tensor, ...]:
        """∂(x.A y)/∂parameters, differentiable; `left` may be `right` itself."""

    def energy(self, charges: Tensor) -> Tensor:
        """x.A x / 2, differentiable in charges and parameters.  ()"""


@dataclass(frozen=True)
class Sum:
    """Several forms as one."""

    forms: Sequence[Form]

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        return tuple(parameter for form in self.forms for parameter in form.parameters)

    def product(self, charges: Tensor) -> Tensor:
        first, *others = (form.product(charges) for form in self.forms)
        for other in others:
            first += other
        return first

    def add_to(self, matrix: Tensor) -> None:
        for form in self.forms:
            form.add_to(matrix)

    def gradients(self, left: Tensor, right: Tensor) -> tuple[Tensor, ...]:
        return tuple(gradient for form in self.forms for gradient in form.gradients(left, right))

    def energy(self, charges: Tensor) -> Tensor:
        return torch.stack([form.energy(charges) for form in self.forms]).sum()


@dataclass(frozen=True)
class Diagonal:
    """Σ_a d_a x_a y_a.  (atom,)"""

    values: Tensor

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        return (self.values,)

    @torch.no_grad()
    def product(self, charges: Tensor) -> Tensor:
        return self.values * charges

    @torch.no_grad()
    def add_to(self, matrix: Tensor) -> None:
        matrix.diagonal().add_(self.values)

    def gradients(self, left: Tensor, right: Tensor) -> tuple[Tensor, ...]:
        return (left * right,)

    def energy(self, charges: Tensor) -> Tensor:
        return torch.dot(self.values, charges.square()) / 2


@dataclass(frozen=True)
class Uniform:
    """Σ_ab (c_a + c_b) x_a y_b: a background that all charges share.  (atom,)"""

    values: Tensor

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        return (self.values,)

    @torch.no_grad()
    def product(self, charges: Tensor) -> Tensor:
        return self.values * charges.sum() + torch.dot(self.values, charges)

    @torch.no_grad()
    def add_to(self, matrix: Tensor) -> None:
        matrix.add_(self.values).add_(self.values.unsqueeze(1))

    def gradients(self, left: Tensor, right: Tensor) -> tuple[Tensor, ...]:
        return (left * right.sum() + right * left.sum(),)

    def energy(self, charges: Tensor) -> Tensor:
        return torch.dot(self.values, charges) * charges.sum()


@dataclass(frozen=True)
class Pairwise:
    """Σ_p v_p (x_i y_j + x_j y_i) over pairs that are listed once.

    values  (pair,)
    first   (pair,)  int64
    second  (pair,)  int64
    """

    values: Tensor
    first: Tensor
    second: Tensor

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        return (self.values,)

    @torch.no_grad()
    def product(self, charges: Tensor) -> Tensor:
        result = torch.zeros_like(charges)
        result.scatter_add_(0, self.first, charges.index_select(0, self.second).mul_(self.values))
        return result.scatter_add_(0, self.second, charges.index_select(0, self.first).mul_(self.values))

    @torch.no_grad()
    def add_to(self, matrix: Tensor) -> None:
        flat, size = matrix.view(-1), len(matrix)
        flat.scatter_add_(0, self.first * size + self.second, self.values)
        flat.scatter_add_(0, self.second * size + self.first, self.values)

    def gradients(self, left: Tensor, right: Tensor) -> tuple[Tensor, ...]:
        ahead = left.index_select(0, self.first) * right.index_select(0, self.second)
        if left is right:
            return (2 * ahead,)
        return (ahead + left.index_select(0, self.second) * right.index_select(0, self.first),)

    def energy(self, charges: Tensor) -> Tensor:
        return torch.dot(self.values, charges.index_select(0, self.first) * charges.index_select(0, self.second))


@dataclass(frozen=True)
class Gram:
    """Σ_k (Σ_a f_ak x_a) (Σ_b f_bk y_b) of few factors.  (atom, k)"""

    factors: Tensor

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        return (self.factors,)

    @torch.no_grad()
    def product(self, charges: Tensor) -> Tensor:
        return self.factors @ (charges @ self.factors)

    @torch.no_grad()
    def add_to(self, matrix: Tensor) -> None:
        """Block by block, those off the diagonal once: 5/8 of the work."""
        step = -(-len(matrix) // 4)
        for first in range(0, len(matrix), step):
            rows = slice(first, first + step)
            part = self.factors[rows]
            matrix[rows, rows].addmm_(part, part.T)
            below = part @ self.factors[:first].T
            matrix[rows, :first].add_(below)
            matrix[:first, rows].add_(below.T)

    def gradients(self, left: Tensor, right: Tensor) -> tuple[Tensor, ...]:
        ahead = left.unsqueeze(1) * (right @ self.factors)
        if left is right:
            return (2 * ahead,)
        return (ahead + right.unsqueeze(1) * (left @ self.factors),)

    def energy(self, charges: Tensor) -> Tensor:
        return (charges @ self.factors).square().sum() / 2
