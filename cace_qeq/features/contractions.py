"""One block of ρ = Σ_k M R h and of its gradients, in two orders; which is cheaper depends on the sizes.

The radial functions join the smaller of channels and monomials in products, (row, function · radial, slot), and
batched matrix products sum them with the other. Many channels come last in these and nothing is transposed; measured
as fast as any other order if their number is a multiple of 16, and up to 25 % slower if not. A density lies in one
piece, and products are written where they belong; gradients end within wider rows, which would take them one by one.

channels  (row, slot, z)              gradient  (row, monomial · radial, z), of the density
radial    (row, radial, slot)         terms     (radial, monomials) whose densities add up
monomials (row, monomial, slot)       out       what a density is written into
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

Term = tuple[Tensor, Tensor]


class Contraction(Protocol):
    """Density, (row, monomial · radial, z), and its gradients by channels and by both tables of functions."""

    @staticmethod
    def density(out: Tensor, channels: Tensor, terms: list[Term]) -> None: ...

    @staticmethod
    def by_channels(gradient: Tensor, terms: list[Term]) -> Tensor: ...

    @staticmethod
    def by_functions(gradient: Tensor, channels: Tensor, term: Term) -> Term: ...


class OfManyChannels:
    """Products of monomials and radial functions."""

    @staticmethod
    def density(out: Tensor, channels: Tensor, terms: list[Term]) -> None:
        out.baddbmm_(monomial_products(terms), channels, beta=0)

    @staticmethod
    def by_channels(gradient: Tensor, terms: list[Term]) -> Tensor:
        return torch.bmm(monomial_products(terms).transpose(1, 2), gradient)

    @staticmethod
    def by_functions(gradient: Tensor, channels: Tensor, term: Term) -> Term:
        radial, monomials = term
        by_product = torch.bmm(gradient, channels.transpose(1, 2)).unflatten(1, (-1, radial.shape[1]))
        by_monomials = inner(by_product, radial.unsqueeze(1), 2)
        return by_product.mul_(monomials.unsqueeze(2)).sum(1), by_monomials


class OfFewChannels:
    """Products of radial functions and channels."""

    @staticmethod
    def density(out: Tensor, channels: Tensor, terms: list[Term]) -> None:
        of_slots = channels.transpose(1, 2).contiguous()
        for number, (radial, monomials) in enumerate(terms):
            columns = products(radial, of_slots).flatten(1, 2).transpose(1, 2)
            by_monomial(out, radial).baddbmm_(monomials, columns, beta=min(number, 1))

    @staticmethod
    def by_channels(gradient: Tensor, terms: list[Term]) -> Tensor:
        parts = []
        for radial, monomials in terms:
            by_product = torch.bmm(by_monomial(gradient, radial).transpose(1, 2), monomials)
            parts.append(by_product.unflatten(1, (radial.shape[1], -1)).mul_(radial.unsqueeze(2)).sum(1))
        return total(parts).transpose(1, 2)

    @staticmethod
    def by_functions(gradient: Tensor, channels: Tensor, term: Term) -> Term:
        radial, monomials = term
        of_slots = channels.transpose(1, 2).contiguous()
        rows = by_monomial(gradient, radial)
        by_product = torch.bmm(rows.transpose(1, 2), monomials).unflatten(1, (radial.shape[1], -1))
        return inner(by_product, of_slots.unsqueeze(1), 2), torch.bmm(rows, products(radial, of_slots).flatten(1, 2))


def contraction(n_channels: int, n_monomials: int) -> type[Contraction]:
    return OfFewChannels if n_channels < n_monomials / 2 else OfManyChannels


def by_monomial(density: Tensor, radial: Tensor) -> Tensor:
    """A density, or its gradient, as (row, monomial, radial · z)."""
    return density.unflatten(1, (-1, radial.shape[1])).flatten(2)


def products(first: Tensor, second: Tensor) -> Tensor:
    """(row, first, second, slot)"""
    return first.unsqueeze(2) * second.unsqueeze(1)


def monomial_products(terms: list[Term]) -> Tensor:
    """(row, monomial · radial, slot)"""
    (radial, monomials), *others = terms
    result = products(monomials, radial)
    for radial, monomials in others:
        result.addcmul_(monomials.unsqueeze(2), radial.unsqueeze(1))
    return result.flatten(1, 2)


def inner(first: Tensor, second: Tensor, axis: int) -> Tensor:
    """Sum of products over a short axis, one after the other: nothing as large as all of them is written."""
    (one, other), *others = zip(first.unbind(axis), second.unbind(axis), strict=True)
    result = one * other
    for one, other in others:
        result.addcmul_(one, other)
    return result


def total(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.stack(parts).sum(0)
