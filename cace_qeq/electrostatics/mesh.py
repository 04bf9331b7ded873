"""The smooth part of an Ewald sum on a mesh: charges are spread by splines, waves are found by FFT.

Essmann et al., J. Chem. Phys. 103, 8577 (1995), doi 10.1063/1.470117.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from cace_qeq.electrostatics.splines import spline_weights, wave_response
from cace_qeq.units import COULOMB

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class MeshForm:
    """x.A y of charges on a mesh, Σ_k G(k) ρ̂_x(k)* ρ̂_y(k).   (solvers, eq. S1)

    weights    (atom, 3, order)  share of each mesh point along each direction
    influence  (n1, n2, n3/2+1)  eV/e², G of one of each pair ±k
    points     (atom, order³)    int64, flat index of the mesh points
    shape      of the mesh
    """

    weights: Tensor
    influence: Tensor
    points: Tensor
    shape: Shape

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        return self.weights, self.influence

    def product(self, charges: Tensor) -> Tensor:
        """A x, a constant.  (atom,)"""
        return self._product(charges)

    def add_to(self, matrix: Tensor) -> None:
        """Column by column, which nobody does but to look at it: a mesh is for structures without a matrix."""
        units = torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
        for column, unit in zip(matrix.unbind(1), units.unbind(), strict=True):
            column.add_(self.product(unit))

    def gradients(self, left: Tensor, right: Tensor) -> tuple[Tensor, ...]:
        """∂(x.A y)/∂parameters, differentiable."""
        waves, other = self._waves(left), None if left is right else self._waves(right)
        partner = waves if other is None else other
        by_influence = (waves.real * partner.real + waves.imag * partner.imag) * _partners(self.influence, self.shape)
        if other is None:
            return 2 * self._by_weights(left, waves), by_influence
        return self._by_weights(left, other) + self._by_weights(right, waves), by_influence

    def energy(self, charges: Tensor) -> Tensor:
        """x.A x / 2, differentiable in charges and parameters.  ()"""
        strength = torch.view_as_real(self._waves(charges)).square().sum(-1)
        return (self.influence * _partners(self.influence, self.shape) * strength).sum() / 2

    def _waves(self, charges: Tensor) -> Tensor:
        """ρ̂, of the charges on the mesh."""
        density = _Spread.apply(charges, self.weights, self.points, self.shape)
        return _ToWaves.apply(density)

    def _by_weights(self, charges: Tensor, waves: Tensor) -> Tensor:
        """x_a ∂φ_a/∂w_a of the potential of other charges, given by their waves.  (atom, 3, order)"""
        potential = _FromWaves.apply(self.influence * waves, self.shape)
        return charges.view(-1, 1, 1) * _slopes(potential.reshape(-1), self.weights, self.points)

    @cached_property
    def _product(self) -> "MeshProduct":
        return MeshProduct(outer(*self.weights.detach().unbind(1)), self.influence.detach(), self.points, self.shape)


@dataclass(frozen=True)
class MeshProduct:
    """W F⁻¹ G F Wᵀ x with constant weights W.

    blocks  (atom, order³)  share of each mesh point; the rest as in MeshForm
    """

    blocks: Tensor
    influence: Tensor
    points: Tensor
    shape: Shape

    @torch.no_grad()
    def __call__(self, charges: Tensor) -> Tensor:
        """(atom,) -> (atom,)"""
        spread, mesh = self._room
        flat = self.points.view(-1)
        torch.mul(self.blocks, charges.unsqueeze(1), out=spread)
        density = mesh.zero_().scatter_add_(0, flat, spread.view(-1)).view(self.shape)
        waves = torch.fft.rfftn(density).mul_(self.influence)
        potential = torch.fft.irfftn(waves, s=self.shape, norm="forward").view(-1)
        torch.index_select(potential, 0, flat, out=spread.view(-1))
        return torch.linalg.vecdot(spread, self.blocks)

    @cached_property
    def _room(self) -> tuple[Tensor, Tensor]:
        """Memory that every product uses again: to get it anew costs more than to fill it."""
        return torch.empty_like(self.blocks), self.blocks.new_empty(math.prod(self.shape))


def mesh_form(positions: Tensor, cell: Tensor, split: Tensor, shape: Shape, order: int) -> MeshForm:
    """Of one periodic structure.

    positions  (atom, 3)  Å
    cell       (3, 3)     Å
    split      ()         Å, η
    shape, order          of the mesh and its splines
    """
    inverse = torch.linalg.inv(cell)
    weights, points = shares(positions, inverse, shape, order)
    return MeshForm(weights, influence(cell, inverse, split, shape, order), points, shape)


def shares(positions: Tensor, inverse: Tensor, shape: Shape, order: int) -> tuple[Tensor, Tensor]:
    """Weights (atom, 3, order) and flat indices (atom, order³) of the mesh points around each atom."""
    sizes = torch.tensor(shape, device=positions.device)
    places = positions @ inverse * sizes
    behind = places.detach().floor()
    weights = spline_weights(places - behind, order)
    steps = torch.arange(order, device=positions.device)
    lines = (behind.long().unsqueeze(-1) - steps) % sizes.unsqueeze(-1)
    planes = lines[:, 0].unsqueeze(2) * shape[1] + lines[:, 1].unsqueeze(1)
    points = planes.unsqueeze(3) * shape[2] + lines[:, 2].view(-1, 1, 1, order)
    return weights, points.flatten(1)


def influence(cell: Tensor, inverse: Tensor, split: Tensor, shape: Shape, order: int) -> Tensor:
    """G = 4π k_e/V |b|² exp(-η² k²/2) / k², zero at k = 0.  (n1, n2, n3/2+1)  eV/e²   (solvers, eq. S2)"""
    squared = squared_waves(inverse, shape)
    nothing = torch.zeros_like(squared)
    nothing[0, 0, 0] = 1.0
    response = _response(shape, order, cell) * (1 - nothing)
    squared = squared + nothing
    volume = torch.linalg.det(cell).abs()
    return 4 * math.pi * COULOMB / volume * response * (-(split**2) * squared / 2).exp() / squared


def squared_waves(inverse: Tensor, shape: Shape) -> Tensor:
    """k² of the waves of a mesh, as |p|² + 2 p.l + |l|², so that no vectors of all of them are stored."""
    first, second, third = (
        2 * math.pi * frequencies(n, axis == 2, inverse).unsqueeze(1) * inverse[:, axis] for axis, n in enumerate(shape)
    )
    plane = first.unsqueeze(1) + second
    return plane.square().sum(-1).unsqueeze(2) + third.square().sum(-1) + 2 * plane @ third.T


def _response(shape: Shape, order: int, like: Tensor) -> Tensor:
    first, second, third = (wave_response(n, order).to(like) for n in shape)
    return first.view(-1, 1, 1) * second.view(-1, 1) * third[: shape[2] // 2 + 1]


def frequencies(n_points: int, half: bool, like: Tensor) -> Tensor:
    make = torch.fft.rfftfreq if half else torch.fft.fftfreq
    return make(n_points, d=1 / n_points, dtype=like.dtype, device=like.device)


def outer(first: Tensor, second: Tensor, third: Tensor) -> Tensor:
    """(atom, order), ... -> (atom, order³)"""
    plane = first.unsqueeze(2) * second.unsqueeze(1)
    return (plane.unsqueeze(3) * third.view(-1, 1, 1, third.shape[1])).flatten(1)


def _slopes(mesh: Tensor, weights: Tensor, points: Tensor) -> Tensor:
    """∂/∂w of Σ_m w1 w2 w3 mesh[m], along each direction.  (atom, 3, order)"""
    n_atoms, _, order = weights.shape
    first, second, third = weights.unbind(1)
    block = mesh.index_select(0, points.view(-1)).view(n_atoms, order, order, order)
    along = (block.view(n_atoms, -1, order) @ third.unsqueeze(2)).view(n_atoms, order, order)
    by_first = (along @ second.unsqueeze(2)).squeeze(2)
    by_second = (first.unsqueeze(1) @ along).squeeze(1)
    plane = (first.unsqueeze(2) * second.unsqueeze(1)).view(n_atoms, 1, -1)
    by_third = (plane @ block.view(n_atoms, -1, order)).squeeze(1)
    return torch.stack([by_first, by_second, by_third], dim=1)


def _partners(like: Tensor, shape: Shape) -> Tensor:
    """How many waves, k and -k, each stored one stands for.  (n3/2+1,)"""
    counts = like.new_full((shape[2] // 2 + 1,), 2.0)
    counts[0] = 1.0
    if shape[2] % 2 == 0:
        counts[-1] = 1.0
    return counts


class _Spread(torch.autograd.Function):
    """Charges on the mesh.  (atom,), (atom, 3, order) -> (n1, n2, n3)"""

    @staticmethod
    def forward(ctx: Any, charges: Tensor, weights: Tensor, points: Tensor, shape: Shape) -> Tensor:
        ctx.points = points
        ctx.save_for_backward(charges, weights)
        first, second, third = weights.unbind(1)
        values = outer(first * charges.unsqueeze(1), second, third).view(-1)
        return values.new_zeros(math.prod(shape)).scatter_add_(0, points.view(-1), values).view(shape)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        charges, weights = ctx.saved_tensors
        slopes = _slopes(gradients[0].reshape(-1), weights, ctx.points)
        return (slopes[:, 0] * weights[:, 0]).sum(1), charges.view(-1, 1, 1) * slopes, None, None


class _ToWaves(torch.autograd.Function):
    """Real FFT, whose backward is one too (that of torch goes through all complex waves)."""

    @staticmethod
    def forward(ctx: Any, density: Tensor) -> Tensor:
        ctx.shape = tuple(density.shape)
        return torch.fft.rfftn(density)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        weighted = gradients[0] / _partners(gradients[0].real, ctx.shape)
        return _FromWaves.apply(weighted, ctx.shape)


class _FromWaves(torch.autograd.Function):
    """Its inverse without the factor 1/n."""

    @staticmethod
    def forward(ctx: Any, waves: Tensor, shape: Shape) -> Tensor:
        ctx.shape = shape
        return torch.fft.irfftn(waves, s=shape, norm="forward")

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _ToWaves.apply(gradients[0]) * _partners(gradients[0], ctx.shape), None
