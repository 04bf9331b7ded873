"""One block of ρ = Σ_k M R h and of its gradients, in two orders; which is cheaper depends on the sizes.

The radial functions join the smaller of channels and monomials in products, (row, function · radial, slot), and
batched matrix products sum them with the other. Many channels come last in these and nothing is transposed; measured
as fast as any other order if their number is a multiple of 16, and up to 25 % slower if not.

channels  (row, slot, z)              gradient  (row, monomial · radial, z), of the density
radial    (row, radial, slot)         terms     (radial, monomials) whose densities add up
monomials (row, monomial, slot)
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

Term = tuple[Tensor, Tensor]


class Contraction(Protocol):
    """Density, (row, monomial · radial, z), and its gradients by channels and by both tables of functions."""

    @staticmethod
    def density(channels: Tensor, terms: list[Term]) -> Tensor: ...

    @staticmethod
    def by_channels(gradient: Tensor, terms: list[Term]) -> Tensor: ...

    @staticmethod
    def by_functions(gradient: Tensor, channels: Tensor, term: Term) -> Term: ...


class OfManyChannels:
    """Products of monomials and radial functions."""

    @staticmethod
    def density(channels: Tensor, terms: list[Term]) -> Tensor:
        return torch.bmm(monomial_products(terms), channels)

    @staticmethod
    def by_channels(gradient: Tensor, terms: list[Term]) -> Tensor:
        return torch.bmm(monomial_products(terms).transpose(1, 2), gradient)

    @staticmethod
    def by_functions(gradient: Tensor, channels: Tensor, term: Term) -> Term:
        radial, monomials = term
        by_product = torch.bmm(gradient, channels.transpose(1, 2)).unflatten(1, (-1, radial.shape[1]))
        by_radial = (by_product * monomials.unsqueeze(2)).sum(1)
        return by_radial, by_product.mul_(radial.unsqueeze(1)).sum(2)


class OfFewChannels:
    """Products of radial functions and channels."""

    @staticmethod
    def density(channels: Tensor, terms: list[Term]) -> Tensor:
        of_slots = channels.transpose(1, 2).contiguous()
        of_radial = [(monomials, products(radial, of_slots).flatten(1, 2)) for radial, monomials in terms]
        parts = [torch.bmm(monomials, columns.transpose(1, 2)) for monomials, columns in of_radial]
        return total(parts).unflatten(2, (-1, channels.shape[2])).flatten(1, 2)

    @staticmethod
    def by_channels(gradient: Tensor, terms: list[Term]) -> Tensor:
        n_channels = gradient.shape[2]
        parts = []
        for radial, monomials in terms:
            rows = gradient.unflatten(1, (-1, radial.shape[1])).flatten(2).transpose(1, 2)
            by_product = torch.bmm(rows, monomials).unflatten(1, (-1, n_channels))
            parts.append(by_product.mul_(radial.unsqueeze(2)).sum(1))
        return total(parts).transpose(1, 2)

    @staticmethod
    def by_functions(gradient: Tensor, channels: Tensor, term: Term) -> Term:
        radial, monomials = term
        of_slots = channels.transpose(1, 2).contiguous()
        rows = gradient.unflatten(1, (-1, radial.shape[1])).flatten(2)
        by_product = torch.bmm(rows.transpose(1, 2), monomials).unflatten(1, (-1, channels.shape[2]))
        by_radial = by_product.mul_(of_slots.unsqueeze(1)).sum(2)
        return by_radial, torch.bmm(rows, products(radial, of_slots).flatten(1, 2))


def contraction(n_channels: int, n_monomials: int) -> type[Contraction]:
    return OfFewChannels if n_channels < n_monomials / 2 else OfManyChannels


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


def total(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.stack(parts).sum(0)
