"""How charges answer fields, and charges from outside.   (boundaries, B6 to B8)

Every derivative is one more solution with the factorisation, or the products, that found the charges.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from cace_qeq.electrostatics.constraints import Constraints
from cace_qeq.electrostatics.geometry import ChargeGeometry
from cace_qeq.electrostatics.qeq import Equilibrium


@dataclass(frozen=True)
class Driven:
    """Charges, and the variables that drive them; the charges hold the graph from these.

    geometry           structures; its positions drive the charges too
    constraints        on the charges
    equilibrium        charges and multipliers
    electronegativity  (atom,)       eV/e
    total_charge       (structure,)  e, NaN where it is not fixed
    """

    geometry: ChargeGeometry
    constraints: Constraints
    equilibrium: Equilibrium
    electronegativity: Tensor
    total_charge: Tensor


def open_directions(geometry: ChargeGeometry) -> Tensor:
    """(structure, 3, 3)  projector on directions in which a structure has a dipole, NaN without any."""
    across = geometry.normal.detach().unsqueeze(2) * geometry.normal.detach().unsqueeze(1)
    everything = torch.eye(3, dtype=across.dtype, device=across.device).expand_as(across)
    slab, periodic = geometry.slab.view(-1, 1, 1), geometry.periodic.view(-1, 1, 1)
    return torch.where(slab, across, torch.where(periodic, torch.nan, everything))


def dipoles(geometry: ChargeGeometry, charges: Tensor) -> Tensor:
    """(structure, 3)  e Å, Σ q r along open directions; of a charged structure about the origin"""
    return moments(geometry, charges, open_directions(geometry))


def moments(geometry: ChargeGeometry, charges: Tensor, projector: Tensor) -> Tensor:
    """(structure, 3)  e Å, Σ q r"""
    sums = charges.new_zeros(geometry.n_structures, 3)
    sums = sums.index_add(0, geometry.structure, charges.unsqueeze(1) * geometry.positions)
    return (projector @ sums.unsqueeze(2)).squeeze(2)


def polarizability(driven: Driven) -> Tensor:
    """(structure, 3, 3)  e²Å²/eV, α = Rᵀ S R with dq = -S dχ; NaN for crystals, across the plane alone for slabs"""
    geometry = driven.geometry
    arms = (geometry.positions.detach().unsqueeze(1) @ open_directions(geometry)[geometry.structure]).squeeze(1)
    known = arms.nan_to_num()
    moved = [
        torch.autograd.grad((driven.equilibrium.charges * column).sum(), driven.electronegativity, retain_graph=True)[0]
        for column in known.unbind(1)
    ]
    products = arms.unsqueeze(2) * torch.stack(moved, dim=1).unsqueeze(1)
    return -products.new_zeros(geometry.n_structures, 3, 3).index_add(0, geometry.structure, products)


def fukui_and_hardness(driven: Driven) -> tuple[Tensor, Tensor]:
    """(atom,) dq/dQ, adding up to one, and (structure,) eV/e², d²E/dQ²; NaN where the total is not a constraint"""
    chemical = -driven.equilibrium.multipliers[:, 0]  # dE/dQ
    fukui, hardness = torch.autograd.grad(
        chemical.sum(),
        [driven.electronegativity, driven.total_charge],
        retain_graph=True,
        allow_unused=True,
        materialize_grads=True,
    )
    fixed = driven.constraints.active[:, 0]
    return torch.where(fixed[driven.geometry.structure], fukui, torch.nan), torch.where(fixed, hardness, torch.nan)


def born_charges(driven: Driven, positions: Tensor) -> Tensor:
    """(atom, 3, 3)  e, Z*[a, x, y] = dμ_y/dr_ax with the flow of charge; NaN along periodic directions

    positions  (atom, 3)  Å, from which everything above follows
    """
    projector = open_directions(driven.geometry)
    known = moments(driven.geometry, driven.equilibrium.charges, projector.nan_to_num())
    columns = [torch.autograd.grad(column.sum(), positions, retain_graph=True)[0] for column in known.unbind(1)]
    missing = torch.where(projector.isnan().any(dim=1), torch.nan, 1.0)[driven.geometry.structure]
    return torch.stack(columns, dim=2) * missing.unsqueeze(1)
