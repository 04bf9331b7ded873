"""Conditions on charges as they are written in a frame."""

from typing import Any

import numpy as np
from ase import Atoms

from cace_qeq.conditions import Conditions, Group, Imposed
from cace_qeq.impose import Boundary, impose
from cace_qeq.structures.convert.frames import place

GROUPS = {"charge_fragment": "fragment_charges", "electrode": "electrode_potentials"}
EXTERNAL = ("external_positions", "external_charges", "external_widths")
CONDITION_KEYS = (*GROUPS, *GROUPS.values(), "electric_field", *EXTERNAL)


def conditions_of(atoms: Atoms) -> Conditions:
    """What a frame imposes on its charges.

    atoms.arrays["charge_fragment"]   int, -1 in none   with atoms.info["fragment_charges"]      e, one per fragment
    atoms.arrays["electrode"]         int, -1 in none   with atoms.info["electrode_potentials"]  eV/e, one per electrode
    atoms.info["electric_field"]      (3,) V/Å
    atoms.info["external_positions"], ["external_charges"], ["external_widths"]

    raises  ValueError naming the frame: labels without numbers or the reverse, and labels that are not integers
    """
    if not any(key in atoms.info or key in atoms.arrays for key in CONDITION_KEYS):
        return Conditions()
    fragments, electrodes = (groups_of(atoms, label, number) for label, number in GROUPS.items())
    around = {key: np.atleast_1d(atoms.info.get(key, ())) for key in EXTERNAL}
    if around["external_positions"].shape == (3,):  # as files hold one row
        around["external_positions"] = around["external_positions"][None]
    return Conditions(fragments, electrodes, np.atleast_1d(atoms.info.get("electric_field", np.zeros(3))), **around)


def groups_of(atoms: Atoms, label: str, number: str) -> list[Group]:
    labels, values = atoms.arrays.get(label), atoms.info.get(number)
    if labels is None and values is None:
        return []
    if labels is None or values is None or not np.issubdtype(labels.dtype, np.integer) or labels.ndim != 1:
        raise ValueError(
            f"{place(atoms)}: expected atoms.arrays[{label!r}], one integer per atom (-1 in none), together with "
            f"atoms.info[{number!r}], one number for each of 0, 1, ...; give both or neither."
        )
    values = np.atleast_1d(values)
    if labels.max() >= len(values) or labels.min() < -1:
        raise ValueError(
            f"{place(atoms)}: {label} has labels from {labels.min()} to {labels.max()}, but {number} has "
            f"{len(values)} numbers; give one for each label, and -1 to atoms in none."
        )
    return [(np.flatnonzero(labels == index), value) for index, value in enumerate(values)]


def imposed_on(atoms: Atoms, boundary: Boundary) -> Imposed:
    """The same as tensors.

    raises  ValueError naming the frame for what `impose` refuses
    """
    conditions = conditions_of(atoms)
    try:
        return impose(conditions, boundary)
    except ValueError as error:
        raise ValueError(f"{place(atoms)}: {error}") from error


def written_conditions(atoms: Atoms) -> dict[str, Any]:
    """Everything a frame says of conditions, to be compared with another time."""
    found = {**atoms.info, **atoms.arrays}
    return {key: np.asarray(found[key]).tolist() for key in CONDITION_KEYS if key in found}
