"""Conditions of one structure, checked once and turned into tensors."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cace_qeq.conditions import (
    SAME_CHARGE,
    Conditions,
    ExternalCharges,
    Group,
    Imposed,
    as_float64,
    holds_tensors,
    nothing_imposed,
)
from cace_qeq.neighbors import CLOSEST

ACROSS = 1e-8  # cosine; a field this close to upright has no component in the plane


@dataclass(frozen=True)
class Boundary:
    """What conditions have to agree with.

    positions     (atom, 3)  Å
    cell          (3, 3)     Å
    pbc           (3,)       bool
    total_charge             e, NaN where electrodes decide
    bonded                   charge flows along bonds: atoms beside electrodes may have it from these, and a field may
                             point along periodic directions
    """

    positions: Tensor
    cell: Tensor
    pbc: Tensor
    total_charge: float
    bonded: bool = False


def impose(conditions: Conditions, boundary: Boundary) -> Imposed:
    """Conditions of one structure as tensors.

    Raises ValueError for groups that overlap, charges that contradict each other, potentials without a reference,
    fields along periodic directions where charge flows freely or beside electrodes and charged fragments, or on charged
    periodic structures, external charges on atoms or their images, and numbers that are not finite or of another shape.
    """
    n_atoms = len(boundary.positions)
    if conditions.empty:
        refuse_unknown_total(boundary.total_charge, at_potential=False)
        return nothing_imposed(n_atoms)
    fragment, fragment_charge = labelled(conditions.fragments, n_atoms, "fragment")
    electrode, potentials = labelled(conditions.electrodes, n_atoms, "electrode")
    refuse_both(fragment, electrode)
    refuse_unknown_total(boundary.total_charge, at_potential=len(potentials) > 0)
    refuse_contradiction(fragment, fragment_charge, boundary.total_charge)
    if len(potentials):
        refuse_missing_reference(fragment, electrode, potentials, boundary)
    off = potentials.new_tensor([torch.nan])
    given = len(potentials) > 0 or bool((fragment_charge.detach().abs() > SAME_CHARGE).any())
    return Imposed(
        fragment=fragment,
        fragment_charge=fragment_charge,
        fragment_structure=torch.zeros(len(fragment_charge), dtype=torch.int64),
        potential=torch.cat([potentials, off])[electrode],  # the last one for -1
        field=checked_field(conditions.field, boundary, given).unsqueeze(0),
        external=checked_external(conditions, boundary),
    )


def labelled(groups: Sequence[Group], n_atoms: int, name: str) -> tuple[Tensor, Tensor]:
    """Groups as a label per atom, -1 in none, and a number per group."""
    label = torch.full((n_atoms,), -1, dtype=torch.int64)
    listed = isinstance(groups, list | tuple)
    if not listed or not all(isinstance(group, list | tuple) and len(group) == 2 for group in groups):
        raise ValueError(f"{name}s are {groups!r}, expected a list of pairs, the atoms and their number")
    for index, (atoms, _) in enumerate(groups):
        members = indices(atoms)
        if members.dim() != 1 or not len(members) or members.is_floating_point() or members.dtype == torch.bool:
            raise ValueError(f"{name} {index} has the atoms {atoms}, expected a list of one index or more")
        members = members.to(torch.int64)
        if members.min() < 0 or members.max() >= n_atoms:
            raise ValueError(f"{name} {index} has the atoms {members.tolist()}, expected 0 to {n_atoms - 1}")
        taken = members[label[members] >= 0]
        if len(taken) or len(members.unique()) < len(members):
            shared = f"atom {int(taken[0])} with {name} {int(label[taken[0]])}" if len(taken) else "an atom twice"
            raise ValueError(f"{name} {index} shares {shared}; {name}s must not overlap")
        label[members] = index
    values = [numbers(value, f"the number of {name} {index}", 0) for index, (_, value) in enumerate(groups)]
    return label, torch.stack(values) if values else torch.zeros(0, dtype=torch.float64)


def indices(atoms: Any) -> Tensor:
    """As they are; an empty tensor for what is no array of numbers."""
    try:
        return atoms if isinstance(atoms, Tensor) else torch.from_numpy(np.array(atoms))
    except (TypeError, ValueError):
        return torch.zeros(0)


def numbers(value: Any, name: str, dimensions: int) -> Tensor:
    try:
        tensor = as_float64(value).cpu()
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"{name} is {value!r}, expected finite numbers with {dimensions} axes") from None
    if tensor.dim() != dimensions or not torch.isfinite(tensor).all():
        raise ValueError(f"{name} is {value}, expected finite numbers with {dimensions} axes")
    return tensor


def refuse_both(fragment: Tensor, electrode: Tensor) -> None:
    both = ((fragment >= 0) & (electrode >= 0)).nonzero().flatten()
    if len(both):
        atom = int(both[0])
        raise ValueError(
            f"atom {atom} is in fragment {int(fragment[atom])}, which keeps its charge, and in electrode "
            f"{int(electrode[atom])}, which exchanges it; take it out of one of them"
        )


def refuse_unknown_total(total_charge: float, at_potential: bool) -> None:
    if math.isinf(total_charge):
        raise ValueError(f"the total charge is {total_charge}, expected a finite number of e")
    if math.isnan(total_charge) and not at_potential:
        raise ValueError(
            "the total charge is NaN, which leaves it to electrodes, but there are none; give a number, or electrodes"
        )


def refuse_contradiction(fragment: Tensor, charges: Tensor, total_charge: float) -> None:
    """Where every atom is in a fragment, the total follows."""
    total = float(charges.detach().sum())
    if (fragment >= 0).all() and abs(total - total_charge) > SAME_CHARGE:
        raise ValueError(
            f"the fragments hold every atom and {total:g} e, the total charge is {total_charge:g} e: these constraints "
            "contradict each other; correct one of them, or leave some atoms out of the fragments"
        )


def refuse_missing_reference(fragment: Tensor, electrode: Tensor, potentials: Tensor, boundary: Boundary) -> None:
    """A potential counts from the vacuum of an open structure of any charge, or from another electrode's."""
    loose = ((fragment < 0) & (electrode < 0)).nonzero().flatten().tolist()
    if loose and not boundary.bonded:
        raise ValueError(
            f"atom {loose[0]} ({len(loose)} in all) is in no electrode and in no fragment, so that its potential "
            "has no reference; put it into a fragment with a charge, or into an electrode"
        )
    of_any_charge, periodic = math.isnan(boundary.total_charge), bool(boundary.pbc.any())
    if of_any_charge and not periodic:
        return
    if len(potentials.detach().unique()) < 2:
        without = "" if periodic else "give no total charge, which leaves it to them, or "
        why = "the structure is periodic" if periodic else "the total charge is fixed"
        raise ValueError(
            f"all electrodes are at {float(potentials[0]):g} eV/e and {why}, so that this potential has no reference; "
            f"{without}give electrodes at different potentials, or fragments of fixed charge"
        )
    if of_any_charge:
        raise ValueError(
            "electrodes of a periodic structure have no vacuum as reference of their potentials; give the total "
            "charge, so that their differences count"
        )


def checked_field(field: Any, boundary: Boundary, given: bool) -> Tensor:
    """(3,)  V/Å

    given  whether charge comes from electrodes or charged fragments
    """
    values = numbers(field, "field", 1)
    if values.shape != (3,):
        raise ValueError(f"field has shape {tuple(values.shape)}, expected three numbers, V/Å")
    vectors, strength = boundary.cell[boundary.pbc].detach(), values.detach().norm()
    upright = (vectors @ values.detach()).abs() <= ACROSS * strength * vectors.norm(dim=1)
    if not (boundary.bonded or upright.all()):
        raise ValueError(
            f"field {values.tolist()} V/Å has a component along a periodic direction (pbc {boundary.pbc.tolist()}), "
            "where its potential would not be periodic; keep the part along open directions, or train a model with "
            "charge_flow: bonds, which needs none"
        )
    if given and not upright.all():
        raise ValueError(
            f"field {values.tolist()} V/Å along a periodic direction acts on charge that flowed along bonds, not on "
            "that of charged fragments or electrodes; leave these out, or keep the part along open directions"
        )
    if strength > 0 and boundary.pbc.any() and not abs(boundary.total_charge) <= SAME_CHARGE:
        raise ValueError(
            f"a field on a periodic structure of total charge {boundary.total_charge:g} e: its energy has no origin; "
            "expected a neutral one, or no field"
        )
    return values


def checked_external(conditions: Conditions, boundary: Boundary) -> ExternalCharges:
    given = (conditions.external_positions, conditions.external_charges, conditions.external_widths)
    if not any(holds_tensors(values) or np.size(values) for values in given):
        return nothing_imposed(0).external
    charge = numbers(conditions.external_charges, "external_charges", 1)
    count = len(charge)
    widths = given[2] if holds_tensors(given[2]) or np.size(given[2]) else [0.0] * count
    found = ExternalCharges.of_one(
        positions=numbers(conditions.external_positions, "external_positions", 2),
        charge=charge,
        width=numbers(widths, "external_widths", 1),
    )
    if (*found.positions.shape, len(found.width)) != (count, 3, count) or (found.width < 0).any():
        raise ValueError(
            f"{count} external charges, positions of shape {tuple(found.positions.shape)} and {len(found.width)} "
            "widths, expected as many of each, (external, 3) and widths of zero or more"
        )
    if count and smallest_distance(found.positions.detach(), boundary) < CLOSEST:
        raise ValueError(f"an external charge is less than {CLOSEST} Å from an atom; check positions and units")
    return found


def smallest_distance(places: Tensor, boundary: Boundary) -> float:
    """Å, between places and the atoms or their images, if it is much smaller than the cell."""
    cell = boundary.cell.detach()
    inverse = torch.linalg.pinv(cell)  # of the periodic directions alone
    between = places.unsqueeze(1) - boundary.positions.detach()
    return float((between - (between @ inverse).round() @ cell).norm(dim=-1).min())
