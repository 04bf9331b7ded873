"""What charges have to fulfil, C q = b.   (boundaries, eq. B3)"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from cace_qeq.conditions import Imposed
from cace_qeq.electrostatics.geometry import ChargeGeometry


@dataclass(frozen=True)
class Constraints:
    """C q = b of each structure. Gradients flow to b; C is constant.

    rows    (structure, row, N)  C; independent, or zeros where a structure has fewer
    values  (structure, row)     b, zero there

    The first row is that of the total charge; zeros where electrodes leave it open, or where it follows from others.
    """

    rows: Tensor
    values: Tensor

    def of(self, structures: Tensor, largest: int) -> "Constraints":
        """Of some structures, with that many atoms at most."""
        return Constraints(self.rows[structures, :, :largest], self.values[structures])

    @cached_property
    def active(self) -> Tensor:
        """(structure, row)  bool  False for rows of zeros."""
        return self.rows.any(-1)

    @cached_property
    def lower(self) -> Tensor:
        """(structure, row, row)  Cholesky factor of C Cᵀ, the identity for rows of zeros."""
        gram = torch.bmm(self.rows, self.rows.transpose(1, 2))
        return torch.linalg.cholesky(gram + torch.diag_embed((~self.active).to(gram.dtype)))

    @cached_property
    def basis(self) -> Tensor:
        """(structure, row, N)  orthonormal combinations of the rows, B."""
        return torch.linalg.solve_triangular(self.lower, self.rows, upper=False)

    def balanced(self, charges: Tensor) -> Tensor:
        """The part with C q = 0, (1 - Bᵀ B) q.  (structure, N)"""
        return charges - vector_times(vector_times(charges, self.basis.transpose(1, 2)), self.basis)

    def smallest(self, values: Tensor) -> Tensor:
        """The smallest q with C q = b.  (structure, row) -> (structure, N)"""
        combined = torch.linalg.solve_triangular(self.lower, values.unsqueeze(-1), upper=False).squeeze(-1)
        return vector_times(combined, self.basis)

    def multipliers(self, residual: Tensor) -> Tensor:
        """λ of a vector Cᵀ λ, and of the nearest one otherwise.  (structure, N) -> (structure, row)"""
        along = torch.bmm(self.basis, residual.unsqueeze(-1))
        return torch.linalg.solve_triangular(self.lower.transpose(1, 2), along, upper=True).squeeze(-1)


def total_charge_alone(geometry: ChargeGeometry, total_charge: Tensor) -> Constraints:
    """Σ q = Q.

    total_charge  (structure,)  e
    """
    return Constraints(geometry.occupied.to(total_charge.dtype).unsqueeze(1), total_charge.unsqueeze(1))


def constraints_of(geometry: ChargeGeometry, imposed: Imposed, total_charge: Tensor) -> Constraints:
    """The total charge, and the charge of every fragment.

    total_charge  (structure,)  e, NaN where electrodes decide; not used where every atom is in a fragment
    """
    n_structures, n_fragments = geometry.n_structures, len(imposed.fragment_charge)
    if not n_fragments and not bool(total_charge.isnan().any()):
        return total_charge_alone(geometry, total_charge)
    free = geometry.summed((imposed.fragment < 0).to(total_charge.dtype))
    fixed = ~total_charge.isnan() & (free > 0)
    counts = torch.bincount(imposed.fragment_structure, minlength=n_structures)
    most = int(counts.max())
    place = torch.arange(n_fragments, device=counts.device) - (counts.cumsum(0) - counts)[imposed.fragment_structure]
    row = torch.cat([place, place.new_tensor([-1])])[imposed.fragment]  # the last for atoms in none
    members = torch.nn.functional.one_hot(row + 1, most + 1)[:, 1:].to(total_charge.dtype)
    rows = torch.cat([geometry.occupied.unsqueeze(2), geometry.padded(members, 0.0)], dim=2)
    rows = rows.transpose(1, 2) * torch.cat([fixed.unsqueeze(1), fixed.new_ones(n_structures, most)], 1).unsqueeze(2)
    index = (imposed.fragment_structure, place + 1)
    values = total_charge.new_zeros(n_structures, most + 1).index_put(index, imposed.fragment_charge)
    total = torch.where(fixed, total_charge, 0.0)
    return Constraints(rows.contiguous(), torch.cat([total.unsqueeze(1), values[:, 1:]], dim=1))


def vector_times(vector: Tensor, matrix: Tensor) -> Tensor:
    """(structure, n), (structure, n, m) -> (structure, m)"""
    return torch.bmm(vector.unsqueeze(1), matrix).squeeze(1)
