"""Pairs of atoms and periodic images by plain enumeration: slow, simple, and a check of faster lists."""

import torch
from torch import Tensor

CHUNK = 1_000_000  # distances held at once, about 60 MB


def image_pairs(positions: Tensor, cell: Tensor, cutoff: float) -> tuple[Tensor, Tensor, Tensor]:
    """All atoms against all images of all atoms, some lattice vectors at a time.

    positions  (atom, 3)  Å, inside the cell or not
    cell       (3, 3)     Å, rows are lattice vectors, any handedness
    cutoff     Å
    returns    center (pair,), neighbor (pair,), shift (pair, 3): int64, each pair once, sorted by center,
               images of an atom with itself included, lattice vectors added to the neighbour
    """
    inverse = torch.linalg.inv(cell)
    wraps = torch.floor(positions @ inverse)
    wrapped = positions - wraps @ cell
    between = wrapped.unsqueeze(0) - wrapped.unsqueeze(1)
    later = torch.ones_like(between[..., 0], dtype=torch.bool).triu(1)
    itself = torch.eye(len(positions), dtype=torch.bool, device=positions.device)
    found = []
    for points in _lattice_points(cutoff * inverse.norm(dim=0)).split(max(1, CHUNK // len(positions) ** 2)):
        squared = (between + (points @ cell).view(-1, 1, 1, 3)).square().sum(-1)
        wanted = later | (itself & forward(points).view(-1, 1, 1))
        point, center, neighbor = ((squared <= cutoff**2) & wanted).nonzero().unbind(1)
        found.append((center, neighbor, points[point] + wraps[center] - wraps[neighbor]))
    center, neighbor, shift = (torch.cat(parts) for parts in zip(*found, strict=True))
    order = center.argsort(stable=True)
    return center[order], neighbor[order], shift[order].long()


def _lattice_points(reach: Tensor) -> Tensor:
    """(point, 3)  integers of the lattice vectors that bring wrapped atoms within reach, per cell vector."""
    bounds = (reach + 1).floor().int().tolist()
    axes = [torch.arange(-bound, bound + 1, dtype=reach.dtype, device=reach.device) for bound in bounds]
    return torch.cartesian_prod(*axes)


def forward(points: Tensor) -> Tensor:
    """(point,)  bool, one of each lattice vector and its opposite; not the zero vector"""
    leading = torch.where(points[:, 0] != 0, points[:, 0], torch.where(points[:, 1] != 0, points[:, 1], points[:, 2]))
    return leading > 0
