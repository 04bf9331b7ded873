"""Cartesian atomic cluster expansion as pure functions of tensors."""

from cace_qeq.features.couplings import Couplings
from cace_qeq.features.cutoff import polynomial_envelope
from cace_qeq.features.densities import Block, Layout, Occupied, blocks_of, density, gathered, last_slots
from cace_qeq.features.harmonics import harmonic_degrees, harmonics, n_harmonics
from cace_qeq.features.messages import received
from cace_qeq.features.mixing import mixed
from cace_qeq.features.monomials import (
    degrees,
    independent_exponents,
    independent_monomials,
    monomial_exponents,
    monomials,
    n_monomials,
    restoration,
)
from cace_qeq.features.pairs import PairFunctions
from cace_qeq.features.products import free_calls
from cace_qeq.features.quadrature import SphereProducts, sphere_products
from cace_qeq.features.radial import bessel_basis

__all__ = [
    "Block",
    "Couplings",
    "Layout",
    "Occupied",
    "PairFunctions",
    "SphereProducts",
    "bessel_basis",
    "blocks_of",
    "degrees",
    "density",
    "free_calls",
    "gathered",
    "harmonic_degrees",
    "harmonics",
    "independent_exponents",
    "independent_monomials",
    "last_slots",
    "mixed",
    "monomial_exponents",
    "monomials",
    "n_harmonics",
    "n_monomials",
    "polynomial_envelope",
    "received",
    "restoration",
    "sphere_products",
]
