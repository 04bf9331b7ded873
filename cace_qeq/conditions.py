"""What is imposed on charges beside their total: fragments, electrodes, fields, charges around.

Floor zero: structures read them from files, electrostatics and models act on them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

SAME_CHARGE = 1e-6  # e; charges that differ by less agree, and less is none

Group = tuple[Any, Any]  # indices of atoms, and the number that they share


def holds_tensors(value: Any) -> bool:
    """Whether a user's numbers are a tensor, or a list with tensors in it."""
    return isinstance(value, Tensor) or (isinstance(value, list | tuple) and any(isinstance(v, Tensor) for v in value))


def as_float64(value: Any) -> Tensor:
    """A user's numbers; tensors, alone or in a list, keep their gradients, and arrays may have any layout.

    raises  TypeError, ValueError, RuntimeError for what is no array of numbers
    """
    if isinstance(value, Tensor):
        return value.to(torch.float64)
    if holds_tensors(value):
        return torch.stack([as_float64(part) for part in value])
    return torch.from_numpy(np.array(value, dtype=np.float64))


@dataclass(frozen=True)
class Conditions:
    """What one structure's user imposes. Numbers may be lists, arrays, or tensors that carry gradients.

    fragments           groups of atoms that keep a charge among themselves, [([0, 1, 2], 0.0), ...]; e
    electrodes          groups of atoms at a potential, exchanging charge with its source, [([3, 4], 0.5), ...];
                        eV/e for a charge of one e, so that the energy is E - Σ μ Q of the groups
    field               (3,)           V/Å, uniform, along open directions; along any where charge flows along bonds
    external_positions  (external, 3)  Å, Gaussian charges around, which stay as they are; in slabs and crystals with
                        all their periodic images
    external_charges    (external,)    e
    external_widths     (external,)    Å, zero for point charges; zero for all if left out
    """

    fragments: Sequence[Group] = ()
    electrodes: Sequence[Group] = ()
    field: Any = (0.0, 0.0, 0.0)
    external_positions: Any = ()
    external_charges: Any = ()
    external_widths: Any = ()

    @property
    def empty(self) -> bool:
        around = (self.external_positions, self.external_charges, self.external_widths)
        in_field = holds_tensors(self.field) or bool(np.any(np.asarray(self.field) != 0))
        anything = any(holds_tensors(other) or np.size(other) for other in around)
        grouped = any(not isinstance(groups, list | tuple) or groups for groups in (self.fragments, self.electrodes))
        return not (in_field or anything or grouped)


@dataclass(frozen=True)
class ExternalCharges:
    """Charges that stay as they are.

    positions  (external, 3)  Å
    charge     (external,)    e
    width      (external,)    Å
    structure  (external,)    int64, ascending
    center     (pair,)        int64, atoms; real-space Ewald pairs with the atoms of slabs and crystals (`with_pairs`)
    neighbor   (pair,)        int64, external charges
    shift      (pair, 3)      int64, lattice vectors added to the external charge
    """

    positions: Tensor
    charge: Tensor
    width: Tensor
    structure: Tensor
    center: Tensor
    neighbor: Tensor
    shift: Tensor

    @classmethod
    def of_one(cls, positions: Tensor, charge: Tensor, width: Tensor) -> "ExternalCharges":
        """Of one structure, without pairs."""
        index = torch.zeros(0, dtype=torch.int64)
        structure = torch.zeros(len(charge), dtype=torch.int64)
        return cls(positions, charge, width, structure, index, index, torch.zeros(0, 3, dtype=torch.int64))

    def shifted(self, structures: int, atoms: int, external: int) -> "ExternalCharges":
        """Behind that many others in a batch."""
        return replace(
            self,
            structure=self.structure + structures,
            center=self.center + atoms,
            neighbor=self.neighbor + external,
        )


@dataclass(frozen=True)
class Imposed:
    """Conditions of a batch as tensors; `impose` makes them of one structure.

    fragment            (atom,)       int64, -1 in none
    fragment_charge     (fragment,)   e
    fragment_structure  (fragment,)   int64, ascending
    potential           (atom,)       eV/e, of the electrode that the atom belongs to, NaN in none
    field               (structure, 3)  V/Å
    external            charges around
    """

    fragment: Tensor
    fragment_charge: Tensor
    fragment_structure: Tensor
    potential: Tensor
    field: Tensor
    external: ExternalCharges

    def with_pairs(self, center: Tensor, neighbor: Tensor, shift: Tensor) -> "Imposed":
        """With real-space pairs of atoms and external charges."""
        return replace(self, external=replace(self.external, center=center, neighbor=neighbor, shift=shift))


def nothing_imposed(n_atoms: int) -> Imposed:
    """For one structure."""
    index, number = torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.float64)
    return Imposed(
        fragment=torch.full((n_atoms,), -1, dtype=torch.int64),
        fragment_charge=number,
        fragment_structure=index,
        potential=torch.full((n_atoms,), torch.nan, dtype=torch.float64),
        field=torch.zeros(1, 3, dtype=torch.float64),
        external=ExternalCharges.of_one(torch.zeros(0, 3, dtype=torch.float64), number, number),
    )


def collate_imposed(parts: Sequence[Imposed]) -> Imposed:
    """Conditions of several batches as one."""
    first_structure, first_fragment, first_atom, first_external = 0, 0, 0, 0
    shifted = []
    for part in parts:
        moved = torch.where(part.fragment >= 0, part.fragment + first_fragment, -1)
        shifted.append(
            Imposed(
                moved,
                part.fragment_charge,
                part.fragment_structure + first_structure,
                part.potential,
                part.field,
                part.external.shifted(first_structure, first_atom, first_external),
            )
        )
        first_structure += len(part.field)
        first_fragment += len(part.fragment_charge)
        first_atom += len(part.fragment)
        first_external += len(part.external.charge)
    flat = {f.name: torch.cat([getattr(p, f.name) for p in shifted]) for f in fields(Imposed) if f.name != "external"}
    around = (torch.cat([getattr(p.external, f.name) for p in shifted]) for f in fields(ExternalCharges))
    return Imposed(**flat, external=ExternalCharges(*around))


def split_pairs(center: Tensor, neighbor: Tensor, n_atoms: int) -> tuple[Tensor, Tensor]:
    """Indices of the pairs among atoms, and of those of an atom and one of the charges that follow them."""
    within = ((center < n_atoms) & (neighbor < n_atoms)).nonzero().flatten()
    across = ((center < n_atoms) & (neighbor >= n_atoms)).nonzero().flatten()
    return within, across
