"""Labels and total charges of a frame: where they are found, and what they must look like."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.stress import voigt_6_to_full_3x3_stress
from numpy.typing import NDArray
from torch import Tensor

from cace_qeq.structures.convert.frames import MODEL, place
from cace_qeq.structures.labels import PROPERTIES, Labels

Floats = NDArray[np.float64]

PER_ATOM = ("forces", "charges", "born_charges")
TOTAL_CHARGE_KEYS = ("total_charge", "charge")
ALIASES = {
    "stress": ("stress", "virial", "virials"),
    "born_charges": ("born_charges", "born_effective_charges", "bec"),
    "total_charge": TOTAL_CHARGE_KEYS,
}
IN_RESULTS = {"born_charges": "born_effective_charges"}  # of ASE's calculators, where names differ
IGNORED = "none"  # instead of a key
CALCULATOR = "caceqeqcalculator"  # as ASE's databases and trajectories name ours
ASYMMETRY = (0.1, 1e-4)  # of a stress, relative to its largest component, and in eV/Å³
SAME_ENERGY = 1e-5  # eV, that files round to
PARTS = ("short_range_energy", "electrostatic_energy")  # of a predicted energy
CHARGE_TOLERANCE = 0.02  # e; populations are often written with three digits


@dataclass(frozen=True)
class LabelKeys:
    """Keys of the labels in a file where they differ from the usual ones; None: look for the usual ones.

    "none" instead of a key leaves a property out, whatever the frames have of it.

    The usual ones are, in this order: REF_<name>, the results of a calculator, <name>; of a frame that holds
    predictions of this package (see `is_predicted`) REF_<name> alone. Stress may also be a virial: a key with "virial"
    in it. The usual keys of the total charge are total_charge and charge.
    """

    energy: str | None = None
    forces: str | None = None
    stress: str | None = None
    charges: str | None = None
    dipole: str | None = None
    born_charges: str | None = None
    total_charge: str | None = None


@dataclass(frozen=True)
class Found:
    """A value in a frame, and its key."""

    key: str
    value: Any


def labels_of(atoms: Atoms, keys: LabelKeys) -> Labels:
    """Labels of one structure, NaN where it has none; the stress counts in periodic structures only.

    raises  ValueError naming file, frame and atom: a label of another shape, or one that is not finite
    """
    n_atoms = len(atoms)
    return Labels(
        energy=label(atoms, keys, "energy", (1,)),
        forces=label(atoms, keys, "forces", (n_atoms, 3)),
        stress=stress_label(atoms, keys),
        charges=label(atoms, keys, "charges", (n_atoms,)),
        dipole=label(atoms, keys, "dipole", (1, 3)),
        born_charges=label(atoms, keys, "born_charges", (n_atoms, 3, 3)),
        weights=torch.tensor([[weight_of(atoms, keys, name) for name in PROPERTIES]], dtype=torch.float64),
    )


def label_sources(atoms: Atoms, keys: LabelKeys) -> dict[str, str | None]:
    """The key that each property is read from, the total charge among them; None where it is missing."""
    found = {field.name: next(findings(atoms, keys, field.name), None) for field in fields(keys)}
    if not atoms.pbc.all():
        found["stress"] = None
    return {name: finding.key if finding else None for name, finding in found.items()}


def is_predicted(atoms: Atoms) -> bool:
    """Whether a model of this package computed the results in a frame, which are no labels then.

    Frames of `cace-qeq predict`, `md` and `relax` say so, as long as their energy is the one that was predicted, and
    so does what ASE keeps of our calculator in databases and trajectories.
    """
    if getattr(atoms.calc, "name", None) == CALCULATOR:
        return True
    results = atoms.calc.results if atoms.calc is not None else {}
    energy = results.get("energy", atoms.info.get("energy"))
    try:
        predicted = sum(float(atoms.info[part]) for part in PARTS)
        return MODEL in atoms.info and (energy is None or abs(float(energy) - predicted) < SAME_ENERGY)
    except (KeyError, TypeError, ValueError):  # another program's
        return False


def told_of_predictions(structures: Sequence[Atoms], where: str) -> str:
    """A sentence on frames whose results are predictions, and how to train on them all the same; "" without any."""
    count = sum(is_predicted(atoms) for atoms in structures)
    if not count:
        return ""
    return (
        f"In {count} of {len(structures)} frames the results are predictions of a model, which are no labels unless "
        f"{where} names them, e.g. forces."
    )


def refuse_absent(keys: LabelKeys, structures: Sequence[Atoms], where: str) -> None:
    """Raise ValueError for a key that was named, in `where`, and that no structure has."""
    sources = [label_sources(atoms, keys) for atoms in structures]
    for name, key in asdict(keys).items():
        if key not in (None, IGNORED) and not any(source[name] for source in sources):
            raise ValueError(f"{where}: no frame has {key!r} as {name}; correct the name, or leave it out.")


def total_charge_of(atoms: Atoms, keys: LabelKeys, default: float | None) -> float:
    """Total charge of a structure, e; where none is written that of `charge_by_conditions`, otherwise `default`.

    raises  ValueError: none written and no default, not a number, or two keys that disagree
    """
    found = list(findings(atoms, keys, "total_charge"))
    decided = charge_by_conditions(atoms)
    if not found and decided is not None:
        return decided
    if not found and default is not None:
        return float(default)
    if not found:
        raise ValueError(
            f"{place(atoms)}: no total charge, expected {keys.total_charge or 'total_charge'}=<e> in the "
            "frame's comment line or database (atoms.info); add it, or set a default total charge."
        )
    values = [float(numbers(atoms, finding, (1,))[0]) for finding in found]
    if max(values) - min(values) > 1e-9:
        given = " and ".join(f"{f.key}={value:g}" for f, value in zip(found, values, strict=True))
        raise ValueError(f"{place(atoms)}: {given} disagree about the total charge; remove the wrong one.")
    return values[0]


def charge_by_conditions(atoms: Atoms) -> float | None:
    """NaN where electrodes decide the total charge, the sum of fragments that hold every atom, otherwise None."""
    electrode, fragment = (np.asarray(atoms.arrays.get(key, [])) for key in ("electrode", "charge_fragment"))
    if electrode.dtype.kind in "iu" and (electrode >= 0).any():
        return math.nan
    if fragment.dtype.kind in "iu" and "fragment_charges" in atoms.info and (fragment >= 0).all():
        given = Found("fragment_charges", atoms.info["fragment_charges"])
        return float(numbers(atoms, given, (np.size(given.value),)).sum())
    return None


def check_charge_sum(atoms: Atoms, labels: Labels, total_charge: float) -> None:
    """Raise ValueError if labelled charges do not add up to the total charge."""
    total = float(labels.charges.sum())  # NaN without labels
    if abs(total - total_charge) > CHARGE_TOLERANCE:
        raise ValueError(
            f"{place(atoms)}: the charges add up to {total:.4f} e, expected the total charge "
            f"{total_charge:g} e within {CHARGE_TOLERANCE} e; correct one of them, name another key, "
            'or leave these charges out by the key "none" (data.keys: {charges: none}, --keys charges=none).'
        )


def findings(atoms: Atoms, keys: LabelKeys, name: str) -> Iterator[Found]:
    """Everything that is written about a property, the first choice first.

    Where the weight of a frame is zero, what stands there is no label.
    """
    for key, values in candidates(atoms, keys, name):
        if key in values and written_weight(atoms, name, key):
            yield Found(key, values[key])


def weight_of(atoms: Atoms, keys: LabelKeys, name: str) -> float:
    """Of one property in a frame beside other frames; 1 without a label."""
    found = next(findings(atoms, keys, name), None)
    return 1.0 if found is None else written_weight(atoms, name, found.key)


def is_silenced(atoms: Atoms, keys: LabelKeys, name: str) -> bool:
    """Whether all that is written about a property has no weight, and is no label therefore."""
    written = any(key in values for key, values in candidates(atoms, keys, name))
    return written and not any(findings(atoms, keys, name))


def written_weight(atoms: Atoms, name: str, key: str) -> float:
    """The product of config_weight and, e.g., config_forces_weight, as MACE's files have them; 1 where there is none.

    Raises ValueError for one that is not a number, or negative.
    """
    if name == "total_charge":
        return 1.0
    weight = 1.0
    for written in {"config_weight", f"config_{name}_weight", f"config_{key.removeprefix('REF_')}_weight"}:
        if written in atoms.info:
            value = float(numbers(atoms, Found(written, atoms.info[written]), (1,))[0])
            if value < 0:
                raise ValueError(f"{place(atoms)}: {written} is {value:g}, expected zero or more.")
            weight *= value
    return weight


def candidates(atoms: Atoms, keys: LabelKeys, name: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Where a property may be: keys, each with the mapping to look it up in."""
    written = atoms.arrays if name in PER_ATOM else atoms.info
    results = atoms.calc.results if atoms.calc is not None else {}
    configured, usual = getattr(keys, name), ALIASES.get(name, (name,))
    if configured == IGNORED:
        return
    if configured is not None:
        yield configured, written
        yield configured, results  # where ASE puts energy, forces, stress, charges and dipole on reading
        return
    if name == "total_charge":
        yield from ((key, written) for key in usual)
        return
    yield from ((f"REF_{key}", written) for key in usual)
    if not is_predicted(atoms):
        yield IN_RESULTS.get(name, name), results
        yield from ((key, written) for key in usual)


def label(atoms: Atoms, keys: LabelKeys, name: str, shape: tuple[int, ...]) -> Tensor:
    """One property as tensor, NaN if it is missing."""
    found = next(findings(atoms, keys, name), None)
    if found is None:
        return torch.full(shape, torch.nan, dtype=torch.float64)
    return torch.from_numpy(numbers(atoms, found, shape))


def stress_label(atoms: Atoms, keys: LabelKeys) -> Tensor:
    """(1, 3, 3)  eV/Å³"""
    found = next(findings(atoms, keys, "stress"), None)
    if found is None or not atoms.pbc.all():
        return torch.full((1, 3, 3), torch.nan, dtype=torch.float64)
    six = np.size(found.value) == 6
    values = numbers(atoms, found, (6,) if six else (3, 3))
    full = voigt_6_to_full_3x3_stress(values) if six else values
    if "virial" in found.key.lower():
        full = -full / atoms.get_volume()
    return torch.from_numpy(symmetric(full, f"{place(atoms)}: {found.key}")).unsqueeze(0)


def symmetric(values: Floats, what: str) -> Floats:
    """The mean with the transposed.  Raises ValueError where rounding cannot be why they differ."""
    relative, absolute = ASYMMETRY
    if np.abs(values - values.T).max() > relative * np.abs(values).max() + absolute:
        raise ValueError(
            f"{what} is {values.tolist()} eV/Å³, expected a symmetric matrix; correct it, or leave it out by the key "
            f'"{IGNORED}" (data.keys: {{stress: none}}, --keys stress=none).'
        )
    return (values + values.T) / 2


def numbers(atoms: Atoms, found: Found, shape: tuple[int, ...]) -> Floats:
    """A finding as float64 array of the expected shape, checked."""
    try:
        values = np.array(found.value, dtype=np.float64)
    except (TypeError, ValueError):
        values = np.zeros(0)
    if isinstance(found.value, bool) or not fits(values.shape, shape):
        raise ValueError(
            f"{place(atoms)}: {found.key} is {summary(found.value)}, expected numbers of shape {shape}; "
            "correct the frame, or name another key."
        )
    values = values.reshape(shape)
    if not np.isfinite(values).all():
        raise ValueError(
            f"{place(atoms)}{wrong_atom(values, len(atoms))}: {found.key} is not finite; correct the number, "
            "or leave the label out of the frame."
        )
    return values


def fits(found: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    """Whether shapes agree, leaving axes of length one aside; nine numbers at the end are a matrix."""
    long, wanted = (tuple(length for length in shape if length != 1) for shape in (found, expected))
    return long == wanted or (expected[-2:] == (3, 3) and long == (*wanted[:-2], 9))


def summary(value: Any) -> str:
    array = np.asarray(value)
    return repr(value) if array.ndim == 0 else f"of shape {array.shape} and type {array.dtype}"


def wrong_atom(values: Floats, n_atoms: int) -> str:
    """Which atom of a property per atom is not finite."""
    if len(values) != n_atoms or n_atoms == 1:
        return ""
    finite = np.isfinite(values.reshape(n_atoms, -1)).all(axis=1)
    return f", atom {int(np.argmin(finite))}"
