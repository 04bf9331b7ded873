"""The Coulomb matrix of Gaussian charges, open, periodic, or of slabs.   (theory, eqs. 7, 11 to 13)"""

import math
from typing import Any

import torch
from torch import Tensor

from cace_qeq.electrostatics.geometry import ChargeGeometry
from cace_qeq.electrostatics.kernels import (
    Background,
    background_interaction,
    gaussian_coulomb,
    reciprocal_amplitude,
    refuse_unknown,
    screened_gaussian_coulomb,
    self_interaction,
    slab_interaction,
    split_self_interaction,
)
from cace_qeq.electrostatics.waves import CosineAndSine


def coulomb_matrix(geometry: ChargeGeometry, width: Tensor, background: Background = "point") -> Tensor:
    """Interaction of unit Gaussian charges, so that the Coulomb energy is q.A q / 2.

    geometry    structures
    width       (atom,)            Å, σ
    background  of charged crystals; a slab needs none
    returns     (structure, N, N)  eV/e², N the largest number of atoms, zeros in padding

    Differentiable to any order with respect to positions, cells and widths.
    Raises ValueError for a background of another name.
    """
    refuse_unknown(background)
    widths = geometry.padded(width, 1.0)
    matrix = torch.diag_embed(self_interaction(widths) * geometry.occupied)
    isolated, repeated, slabs = (
        rows.nonzero().flatten() for rows in (~geometry.periodic, geometry.periodic, geometry.slab)
    )
    if len(isolated):
        matrix = matrix.index_add(0, isolated, _open_pairs(geometry, widths, isolated))
    if len(repeated):
        matrix = matrix.index_add(0, repeated, _reciprocal_sum(geometry, repeated))
        matrix = matrix.index_add(0, repeated, _constant_terms(geometry, widths, repeated, background))
        half = _real_space_half(geometry, width)
        matrix = matrix + half + half.transpose(1, 2)
    if len(slabs):
        matrix = matrix.index_add(0, slabs, -_images_of_slabs(geometry, slabs))
    return matrix


def _open_pairs(geometry: ChargeGeometry, widths: Tensor, rows: Tensor) -> Tensor:
    """(row, N, N)  all pairs of different atoms of the open structures."""
    positions = geometry.padded(geometry.positions, 0.0).index_select(0, rows)
    return open_pairs(positions, widths.index_select(0, rows), geometry.occupied.index_select(0, rows))


def open_pairs(positions: Tensor, widths: Tensor, occupied: Tensor) -> Tensor:
    """(structure, N, N)  all pairs of different atoms.

    positions  (structure, N, 3)  Å
    widths     (structure, N)     Å
    occupied   (structure, N)     bool, False in padding
    """
    squared_width = widths.square()
    different = ~torch.eye(positions.shape[1], dtype=torch.bool, device=positions.device)
    counted = (occupied.unsqueeze(2) & occupied.unsqueeze(1) & different).to(positions.dtype)
    displacement = positions.unsqueeze(1) - positions.unsqueeze(2)
    squared_distance = displacement.square().sum(-1) + (1 - counted)  # never a division by zero
    pair_width = squared_width.unsqueeze(1) + squared_width.unsqueeze(2)
    return counted * gaussian_coulomb(squared_distance, pair_width)


def _real_space_half(geometry: ChargeGeometry, width: Tensor) -> Tensor:
    """(structure, N, N)  real-space Ewald sum; to be added to its own transpose."""
    center, neighbor = geometry.center, geometry.neighbor
    owner = geometry.structure[center]
    images = _lattice_vectors(geometry.shift, geometry.cells, owner)
    displacement = geometry.positions.index_select(0, neighbor) - geometry.positions.index_select(0, center)
    variance = width.square()
    interaction = screened_gaussian_coulomb(
        (displacement + images).square().sum(-1),
        variance.index_select(0, center) + variance.index_select(0, neighbor),
        geometry.split[owner],
    )
    size = geometry.largest
    place = geometry.slot[center] * size + geometry.slot[neighbor] % size
    flat = interaction.new_zeros(geometry.n_structures * size * size).index_add(0, place, interaction)
    return flat.view(-1, size, size)


def _lattice_vectors(shift: Tensor, cells: Tensor, owner: Tensor) -> Tensor:
    """(pair, 3)  shift times cell; one product per structure, whose pairs lie together."""
    counts = torch.bincount(owner, minlength=len(cells)).tolist()
    parts = shift.T.split(counts)
    return torch.cat([part @ cell for part, cell in zip(parts, cells, strict=True)])


def _reciprocal_sum(geometry: ChargeGeometry, rows: Tensor) -> Tensor:
    """(row, N, N)  cos k.(r_a - r_b) summed over all k as a product of waves at the two atoms."""
    cells, triplets = geometry.cells.index_select(0, rows), geometry.triplets.index_select(0, rows)
    vectors = 2 * math.pi * triplets.to(cells.dtype) @ torch.linalg.inv(cells).transpose(1, 2)
    padding = (triplets == 0).all(-1).to(cells.dtype)
    volume = torch.linalg.det(cells).abs().unsqueeze(1)
    split = geometry.split.index_select(0, rows).unsqueeze(1)
    amplitude = reciprocal_amplitude(vectors.square().sum(-1) + padding, volume, split) * (1 - padding)
    positions = geometry.padded(geometry.positions, 0.0).index_select(0, rows)
    phase = positions @ vectors.transpose(1, 2)
    weight = amplitude.unsqueeze(1) * geometry.occupied.index_select(0, rows).unsqueeze(2)
    cosine, sine = CosineAndSine.apply(phase)
    return _Gram.apply(weight * cosine) + _Gram.apply(weight * sine)


def _constant_terms(geometry: ChargeGeometry, widths: Tensor, rows: Tensor, background: Background) -> Tensor:
    """(row, N, N)  what does not depend on positions: background, and the reciprocal sum's self term."""
    occupied = geometry.occupied.index_select(0, rows).to(widths.dtype)
    variance = widths.index_select(0, rows).square() * ~geometry.slab.index_select(0, rows).unsqueeze(1)
    volume = torch.linalg.det(geometry.cells.index_select(0, rows)).abs().view(-1, 1, 1)
    split = geometry.split.index_select(0, rows).view(-1, 1, 1)
    squared_width = variance.unsqueeze(1) + variance.unsqueeze(2)
    uniform = background_interaction(volume, split, squared_width, background)
    own = torch.diag_embed(split_self_interaction(split.squeeze(2)) * occupied)
    return uniform * occupied.unsqueeze(1) * occupied.unsqueeze(2) - own


def _images_of_slabs(geometry: ChargeGeometry, rows: Tensor) -> Tensor:
    """(row, N, N)  what the reciprocal sum holds of the images along the open direction."""
    cells, normal = geometry.cells.index_select(0, rows), geometry.normal.index_select(0, rows).unsqueeze(2)
    occupied = geometry.occupied.index_select(0, rows).to(cells.dtype)
    height = geometry.padded(geometry.positions, 0.0).index_select(0, rows) @ normal
    squared = (height - height.transpose(1, 2)).square()
    cell_height = (cells @ normal).norm(dim=1, keepdim=True)  # the other vectors lie in the plane
    images = slab_interaction(squared, torch.linalg.det(cells).abs().view(-1, 1, 1), cell_height)
    return images * occupied.unsqueeze(1) * occupied.unsqueeze(2)


class _Gram(torch.autograd.Function):
    """B Bᵀ, with one product instead of two in the backward."""

    @staticmethod
    def forward(ctx: Any, factors: Tensor) -> Tensor:
        ctx.save_for_backward(factors)
        return factors @ factors.transpose(1, 2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (factors,) = ctx.saved_tensors
        return (gradients[0] + gradients[0].transpose(1, 2)) @ factors
