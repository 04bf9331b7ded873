"""Matrices over what densities hold of each component, as products that neither gather nor pad anything.

Densities ρ, (atom, component, n), meet matrices W, (part, n, channel): the first `steps[0]` of them one component
each, in order, the next `steps[1]` the first components again, and so on. The form

    Φ(g, ρ, W) = Σ_pacn g[p, a, c] ρ[a, component of p, n] W[p, n, c]

is linear in each argument, so that its derivatives of every order are gradients of it.   (explicit_forces, eq. X9)
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from cace_qeq.features.explicit import Derivative, with_derivatives

Steps = tuple[int, ...]


def mixed(densities: Tensor, matrices: Tensor, steps: Steps) -> Tensor:
    """Densities over channels.

    densities  (atom, component, n)
    matrices   (part, n, channel)
    steps      how many components, from the first on, the matrices of each step meet; all in the first step
    returns    (part, atom, channel)
    """
    with torch.no_grad():
        rows = densities.transpose(0, 1)
        found = [torch.bmm(rows[components], matrices[parts]) for parts, components in places(steps)]
        value = torch.cat(found) if len(found) > 1 else found[0]
    return with_derivatives(
        value,
        Derivative(densities, lambda gradient: density_gradient(gradient, matrices, steps)),
        Derivative(matrices, lambda gradient: matrix_gradient(gradient, densities, steps)),
    )


def density_gradient(gradient: Tensor, matrices: Tensor, steps: Steps) -> Tensor:
    """Gradient by densities from that by what was made of them.

    gradient  (part, atom, channel)
    returns   (atom, component, n)
    """
    with torch.no_grad():
        back = matrices.transpose(1, 2)
        rows, *others = [torch.bmm(gradient[parts], back[parts]) for parts, _ in places(steps)]
        for other in others:
            rows[: len(other)].add_(other)
        value = rows.transpose(0, 1)
    return with_derivatives(
        value,
        Derivative(gradient, lambda change: mixed(change, matrices, steps)),
        Derivative(matrices, lambda change: matrix_gradient(gradient, change, steps)),
    )


def matrix_gradient(gradient: Tensor, densities: Tensor, steps: Steps) -> Tensor:
    """Gradient by matrices, (part, n, channel)."""
    with torch.no_grad():
        columns = densities.permute(1, 2, 0)
        value = torch.cat([torch.bmm(columns[components], gradient[parts]) for parts, components in places(steps)])
    return with_derivatives(
        value,
        Derivative(gradient, lambda change: mixed(densities, change, steps)),
        Derivative(densities, lambda change: density_gradient(gradient, change, steps)),
    )


def places(steps: Steps) -> Iterator[tuple[slice, slice]]:
    """Parts and components of each step."""
    start = 0
    for size in steps:
        yield slice(start, start + size), slice(size)
        start += size
