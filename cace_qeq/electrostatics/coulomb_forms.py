"""The matrix K of one structure as a sum of forms, the same numbers as `coulomb_matrix` and the hardness."""

import math

import torch
from torch import Tensor

from cace_qeq.electrostatics.direct import AllPairs
from cace_qeq.electrostatics.displacements import PairIndex, squared_distances
from cace_qeq.electrostatics.forms import Diagonal, Form, Gram, Pairwise, Sum, Uniform
from cace_qeq.electrostatics.geometry import ChargeGeometry
from cace_qeq.electrostatics.kernels import (
    Background,
    background_interaction,
    reciprocal_amplitude,
    refuse_unknown,
    screened_gaussian_coulomb,
    self_interaction,
    split_self_interaction,
)
from cace_qeq.electrostatics.mesh import mesh_form
from cace_qeq.electrostatics.qeq import ChargeParameters
from cace_qeq.electrostatics.waves import Waves
from cace_qeq.units import COULOMB


def charge_form(geometry: ChargeGeometry, parameters: ChargeParameters, background: Background) -> Sum:
    """K of one structure: a mesh where the geometry has one, structure factors or all pairs where it has none.

    Raises ValueError for a background of another name.
    """
    refuse_unknown(background)
    width = parameters.width
    return with_own(geometry, width, parameters.hardness + self_interaction(width), background)


def with_own(geometry: ChargeGeometry, width: Tensor, own: Tensor, background: Background) -> Sum:
    """A of one structure, with what charges have with themselves, (atom,) eV/e²."""
    if not geometry.periodic[0]:
        return Sum([Diagonal(own), AllPairs(geometry.positions, width.square())])
    return Sum([Diagonal(own - split_self_interaction(geometry.split[0])), *lattice_forms(geometry, width, background)])


def lattice_forms(geometry: ChargeGeometry, width: Tensor, background: Background) -> list[Form]:
    """A of one crystal or slab, apart from what charges have with themselves."""
    forms: list[Form] = [real_space(geometry, width), uniform(geometry, width, background)]
    if geometry.slab[0]:
        forms.append(slab_dipole(geometry))
    shape = geometry.mesh[0].tolist()
    if not any(shape):
        return [*forms, structure_factors(geometry)]
    mesh = mesh_form(geometry.positions, geometry.cells[0], geometry.split[0], tuple(shape[:3]), shape[3])
    return [*forms, mesh]


def real_space(geometry: ChargeGeometry, width: Tensor) -> Pairwise:
    first, second = geometry.center, geometry.neighbor
    index = PairIndex(first, second, geometry.shift, len(width))
    variance = width.square()
    interaction = screened_gaussian_coulomb(
        squared_distances(geometry.positions, geometry.cells[0], index),
        variance.index_select(0, first) + variance.index_select(0, second),
        geometry.split[0],
    )
    return Pairwise(interaction, first, second)


def uniform(geometry: ChargeGeometry, width: Tensor, background: Background) -> Uniform:
    """Background, and of slabs what their images add to all pairs alike or by the height of either atom."""
    volume = geometry.volume[0]
    variance = torch.zeros_like(width) if geometry.slab[0] else width.square()
    values = background_interaction(volume, geometry.split[0], 2 * variance, background) / 2
    if geometry.slab[0]:
        cell_height = (geometry.cells[0] @ geometry.normal[0]).norm()
        values = values - 2 * math.pi * COULOMB / volume * (heights(geometry).square() + cell_height**2 / 12)
    return Uniform(values.expand_as(width))


def slab_dipole(geometry: ChargeGeometry) -> Gram:
    """4π k_e/V z_a z_b, the rest of a slab's images."""
    volume = geometry.volume[0]
    return Gram((4 * math.pi * COULOMB / volume).sqrt() * heights(geometry).unsqueeze(1))


def heights(geometry: ChargeGeometry) -> Tensor:
    """Å, of a slab's atoms about their mean: only differences count, and large numbers lose digits.  (atom,)"""
    height = geometry.positions @ geometry.normal[0]
    return height - height.detach().mean()


def structure_factors(geometry: ChargeGeometry) -> Waves:
    """The reciprocal sum over the waves of the plan."""
    triplets = geometry.triplets[0]
    return waves_of(geometry, triplets[triplets.any(dim=1)])


def _dual(cell: Tensor) -> Tensor:
    """(3, 3)  the transpose of the inverse; a tenth of the time that generated code needs to have it inverted"""
    first, second, third = cell.unbind(0)
    across = [torch.linalg.cross(*pair) for pair in ((second, third), (third, first), (first, second))]
    return torch.stack(across) / torch.dot(first, across[0])


def waves_of(geometry: ChargeGeometry, triplets: Tensor) -> Waves:
    """The sum over waves, to which those of zeros add nothing."""
    padding = ~triplets.any(dim=1)
    vectors = 2 * math.pi * triplets.to(geometry.cells.dtype) @ _dual(geometry.cells[0])
    squared = vectors.square().sum(-1) + padding
    amplitude = reciprocal_amplitude(squared, geometry.volume[0], geometry.split[0]) * ~padding
    return Waves.of(geometry.positions, vectors, amplitude)
