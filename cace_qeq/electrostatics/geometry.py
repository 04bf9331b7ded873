"""What electrostatics needs to know of a batch of structures."""

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class ChargeGeometry:
    """Structures of any sizes, one after the other: open, periodic, or slabs. Floats are float64.

    positions  (atom, 3)          Å
    cells      (structure, 3, 3)  Å, rows are lattice vectors, those of slabs closed by a vector along the normal
                                  (`slab.closed_cells`); ignored for open structures
    periodic   (structure,)       bool, crystals and slabs
    normal     (structure, 3)     unit vector along the open direction of slabs, zeros for all else
    structure  (atom,)            int64, ascending
    center     (pair,)            int64, ascending; real-space Ewald pairs of the periodic structures, each of
    neighbor   (pair,)            int64  them once, images of an atom with itself included
    shift      (3, pair)          whole numbers, lattice vectors added to the neighbour
    triplets   (structure, k, 3)  int64, one reciprocal vector of each pair ±k; rows of zeros are padding
    split      (structure,)       Å, η of the Ewald sums
    mesh       (structure, 4)     int64, points along each lattice vector and order of the splines; zeros where
                                  structure factors are summed

    Gradients flow through positions and cells; the integers stay as they are.
    """

    positions: Tensor
    cells: Tensor
    periodic: Tensor
    normal: Tensor
    structure: Tensor
    center: Tensor
    neighbor: Tensor
    shift: Tensor
    triplets: Tensor
    split: Tensor
    mesh: Tensor

    @property
    def n_structures(self) -> int:
        return self.cells.shape[0]

    @property
    def volume(self) -> Tensor:
        """(structure,)  Å³, not kept: charges are found without gradients first"""
        first, second, third = self.cells.unbind(1)
        return (first * torch.linalg.cross(second, third)).sum(1).abs()

    @cached_property
    def slab(self) -> Tensor:
        """(structure,)  bool"""
        return self.normal.detach().any(dim=1)

    def of(self, rows: Tensor, atoms: Tensor) -> "ChargeGeometry":
        """Some structures, in ascending order, with the indices of their atoms."""
        numbers = torch.arange(len(atoms), device=atoms.device)
        new_atom = torch.full_like(self.structure, -1).index_copy(0, atoms, numbers)
        pairs = (new_atom[self.center] >= 0).nonzero().flatten()
        per_structure = ("cells", "periodic", "normal", "triplets", "split", "mesh")
        return replace(
            self,
            positions=self.positions[atoms],
            structure=torch.searchsorted(rows, self.structure[atoms]),
            center=new_atom[self.center[pairs]],
            neighbor=new_atom[self.neighbor[pairs]],
            shift=self.shift[:, pairs],
            **{name: getattr(self, name)[rows] for name in per_structure},
        )

    @cached_property
    def sizes(self) -> Tensor:
        """(structure,)  int64  number of atoms."""
        return torch.bincount(self.structure, minlength=self.n_structures)

    @cached_property
    def largest(self) -> int:
        """N, the number of atoms of the largest structure."""
        return len(self.structure) if self.n_structures == 1 else int(self.sizes.max())

    @cached_property
    def slot(self) -> Tensor:
        """(atom,)  int64  place of each atom in a flattened (structure, N) table."""
        first = self.sizes.cumsum(0) - self.sizes
        within = torch.arange(len(self.structure), device=self.structure.device) - first[self.structure]
        return self.structure * self.largest + within

    @cached_property
    def occupied(self) -> Tensor:
        """(structure, N)  bool  False in padding."""
        return torch.arange(self.largest, device=self.sizes.device) < self.sizes.unsqueeze(1)

    def padded(self, values: Tensor, filling: float) -> Tensor:
        """(atom, ...) as (structure, N, ...)."""
        shape = (self.n_structures, self.largest, *values.shape[1:])
        if len(values) == shape[0] * shape[1]:
            return values.view(shape)
        table = values.new_full((shape[0] * shape[1], *shape[2:]), filling)
        return table.index_copy(0, self.slot, values).view(shape)

    def unpadded(self, table: Tensor) -> Tensor:
        """(structure, N, ...) as (atom, ...)."""
        return table.flatten(0, 1).index_select(0, self.slot)

    def summed(self, values: Tensor) -> Tensor:
        """(atom, ...) added up to (structure, ...)."""
        if self.n_structures == 1:
            return values.sum(0, keepdim=True)
        return values.new_zeros(self.n_structures, *values.shape[1:]).index_add(0, self.structure, values)
