"""How charges answer fields, and charges from outside.   (boundaries, eqs. B6 to B8)

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
    moments            (structure, 3)  e Å, of charge that flowed along bonds from neutral atoms; NaN without that
    electronegativity  (atom,)         eV/e
    total_charge       (structure,)    e, NaN where it is not fixed
    field              (structure, 3)  V/Å
    """

    geometry: ChargeGeometry
    constraints: Constraints
    equilibrium: Equilibrium
    moments: Tensor
    electronegativity: Tensor
    total_charge: Tensor
    field: Tensor

    @property
    def dipoles(self) -> Tensor:
        """(structure, 3)  e Å, those of cells by what has flowed, others Σ q r along open directions; NaN without"""
        return where_known(self.known, self.sums)

    @property
    def sums(self) -> Tensor:
        """(structure, 3)  e Å, the same with zeros in place of NaN"""
        projector = open_directions(self.geometry).nan_to_num()
        return torch.where(self.flowed, self.moments, moments(self.geometry, self.equilibrium.charges, projector))

    @property
    def flowed(self) -> Tensor:
        """(structure, 1)  bool, cells whose charge has flowed along bonds"""
        return (self.geometry.periodic & self.moments.isfinite().all(1)).unsqueeze(1)

    @property
    def known(self) -> Tensor:
        """(structure,)  bool, whether there is a dipole; of slabs with free charge across their plane"""
        return ~open_directions(self.geometry).isnan().any(2).any(1) | self.flowed.squeeze(1)

    @property
    def whole(self) -> Tensor:
        """(structure,)  bool, whether it has all three components"""
        return ~self.geometry.periodic | self.flowed.squeeze(1)

    def slopes(self, variable: Tensor, keep_graph: bool = False) -> list[Tensor]:
        """Of each component of the dipoles in a variable."""
        return [
            torch.autograd.grad(
                column.sum(), variable, retain_graph=True, create_graph=keep_graph, materialize_grads=True
            )[0]
            for column in self.sums.unbind(1)
        ]


def where_known(known: Tensor, values: Tensor) -> Tensor:
    """NaN elsewhere; gradients of what is known stay finite.

    known  (row,)  bool
    """
    return torch.where(known.view(-1, *[1] * (values.dim() - 1)), values, torch.nan)


def open_directions(geometry: ChargeGeometry) -> Tensor:
    """(structure, 3, 3)  projector on directions in which Σ q r is a dipole, NaN without any."""
    across = geometry.normal.detach().unsqueeze(2) * geometry.normal.detach().unsqueeze(1)
    everything = torch.eye(3, dtype=across.dtype, device=across.device).expand_as(across)
    slab, periodic = geometry.slab.view(-1, 1, 1), geometry.periodic.view(-1, 1, 1)
    return torch.where(slab, across, torch.where(periodic, torch.nan, everything))


def moments(geometry: ChargeGeometry, charges: Tensor, projector: Tensor) -> Tensor:
    """(structure, 3)  e Å, Σ q r; of a charged structure about the origin"""
    sums = charges.new_zeros(geometry.n_structures, 3)
    sums = sums.index_add(0, geometry.structure, charges.unsqueeze(1) * geometry.positions)
    return (projector @ sums.unsqueeze(2)).squeeze(2)


def polarizability(driven: Driven) -> Tensor:
    """(structure, 3, 3)  e²Å²/eV, dμ/dF; NaN without dipole, of slabs with free charge across the plane alone"""
    found = torch.stack(driven.slopes(driven.field), dim=1)
    across = torch.where(driven.flowed.unsqueeze(2), found, found @ open_directions(driven.geometry).nan_to_num())
    return where_known(driven.known, across)


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
    """(atom, 3, 3)  e, Z*[a, x, y] = dμ_y/dr_ax with the flow of charge; NaN without dipole

    positions  (atom, 3)  Å, from which everything above follows
    """
    return where_known(driven.known[driven.geometry.structure], torch.stack(driven.slopes(positions), dim=2))


def whole_born_charges(driven: Driven, positions: Tensor, keep_graph: bool) -> Tensor:
    """The same with the graph kept for derivatives, if wanted; NaN where a component of the dipole is missing."""
    slopes = torch.stack(driven.slopes(positions, keep_graph), dim=2)
    return where_known(driven.whole[driven.geometry.structure], slopes)
