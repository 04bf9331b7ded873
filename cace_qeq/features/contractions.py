"""One block of ρ = Σ_k h M R and of its gradients, in two orders; which is cheaper depends on the sizes.

The radial functions join the smaller of channels and monomials in products, (row, function · radial, slot), and
batched matrix products sum them with the larger. Everywhere the long side is the last: measured up to twice as fast
as the other orders.

channels  (row, z, slot)              gradient  (row, monomial, z, radial), of the density
radial    (row, radial, slot)         terms     (radial, monomials) whose densities add up
monomials (row, monomial, slot)
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

Term = tuple[Tensor, Tensor]


class Contraction(Protocol):
    """Density, (row, monomial, z, radial), and its gradients by channels and by both tables of functions."""

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
        n_radial = terms[0][0].shape[1]
        rows = channels @ monomial_products(terms).transpose(1, 2)
        return rows.unflatten(2, (-1, n_radial)).transpose(1, 2)

    @staticmethod
    def by_channels(gradient: Tensor, terms: list[Term]) -> Tensor:
        return gradient.transpose(1, 2).flatten(2) @ monomial_products(terms)

    @staticmethod
    def by_functions(gradient: Tensor, channels: Tensor, term: Term) -> Term:
        radial, monomials = term
        rows = gradient.transpose(1, 2).flatten(2).transpose(1, 2)
        by_product = (rows @ channels).unflatten(1, (-1, radial.shape[1]))
        return (by_product * monomials.unsqueeze(2)).sum(1), (by_product * radial.unsqueeze(1)).sum(2)


class OfFewChannels:
    """Products of channels and radial functions."""

    @staticmethod
    def density(channels: Tensor, terms: list[Term]) -> Tensor:
        parts = [monomials @ products(channels, radial).flatten(1, 2).transpose(1, 2) for radial, monomials in terms]
        return total(parts).unflatten(2, (channels.shape[1], -1))

    @staticmethod
    def by_channels(gradient: Tensor, terms: list[Term]) -> Tensor:
        rows, shape = gradient.flatten(2).transpose(1, 2), gradient.shape[2:]
        by_product = [(rows @ monomials).unflatten(1, shape) for _, monomials in terms]
        return total([(part * radial.unsqueeze(1)).sum(2) for part, (radial, _) in zip(by_product, terms, strict=True)])

    @staticmethod
    def by_functions(gradient: Tensor, channels: Tensor, term: Term) -> Term:
        radial, monomials = term
        rows = gradient.flatten(2)
        by_product = (rows.transpose(1, 2) @ monomials).unflatten(1, gradient.shape[2:])
        by_radial = (by_product * channels.unsqueeze(2)).sum(1)
        return by_radial, rows @ products(channels, radial).flatten(1, 2)


def contraction(n_channels: int, n_monomials: int) -> type[Contraction]:
    return OfFewChannels if n_channels < n_monomials / 2 else OfManyChannels


def products(functions: Tensor, radial: Tensor) -> Tensor:
    """(row, function, radial, slot)"""
    return functions.unsqueeze(2) * radial.unsqueeze(1)


def monomial_products(terms: list[Term]) -> Tensor:
    """(row, monomial · radial, slot)"""
    (radial, monomials), *others = terms
    result = products(monomials, radial)
    for radial, monomials in others:
        result.addcmul_(monomials.unsqueeze(2), radial.unsqueeze(1))
    return result.flatten(1, 2)


def total(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.stack(parts).sum(0)
