"""Cartesian atomic cluster expansion as pure functions of tensors."""

from cace_qeq.features.couplings import Couplings
from cace_qeq.features.cutoff import polynomial_envelope
from cace_qeq.features.monomials import degrees, monomial_exponents, monomials, n_monomials
from cace_qeq.features.radial import bessel_basis

__all__ = [
    "Couplings",
    "bessel_basis",
    "degrees",
    "monomial_exponents",
    "monomials",
    "n_monomials",
    "polynomial_envelope",
]
