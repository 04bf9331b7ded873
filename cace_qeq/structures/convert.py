"""ASE's Atoms to batches and labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray

from cace_qeq.lattice import plan_ewald
from cace_qeq.structures.batch import AtomicBatch, EwaldTerms, GeometrySettings, Pairs
from cace_qeq.structures.labels import Labels
from cace_qeq.structures.neighbors import neighbor_pairs, padded_table

SOURCE = "cace_qeq_source"  # the key of atoms.info that tells file and frame, for errors
CHARGE_SUM_TOLERANCE = 0.02  # e
TOTAL_CHARGE_KEYS = ("total_charge", "charge")
CLOSEST = 1e-3  # Å, below which two atoms are at one place


@dataclass(frozen=True)
class LabelKeys:
    """Names under which frames keep their labels; None looks in the usual places."""

    energy: str | None = None
    forces: str | None = None
    stress: str | None = None
    charges: str | None = None
    dipole: str | None = None
    total_charge: str | None = None


def place(atoms: Atoms) -> str:
    """Which frame of which file, in front of an error: "train.extxyz, frame 17"."""
    return str(atoms.info.get(SOURCE, atoms.get_chemical_formula()))


def to_batch(atoms: Atoms, settings: GeometrySettings, total_charge: float) -> AtomicBatch:
    """One structure as a batch.

    Raises ValueError for positions that are not finite or coincide, a missing or flat cell, and, for a model
    with charges, periodicity in one or two directions.
    """
    check_geometry(atoms)
    positions, cell, pbc = atoms.positions, np.asarray(atoms.cell), atoms.pbc
    pairs = neighbor_pairs(positions, cell, pbc, settings.cutoff)
    check_distances(atoms, pairs)
    return AtomicBatch(
        positions=torch.tensor(positions, dtype=torch.float64),
        numbers=torch.tensor(atoms.numbers, dtype=torch.int64),
        masses=torch.tensor(atoms.get_masses(), dtype=torch.float64),
        structure=torch.zeros(len(atoms), dtype=torch.int64),
        cells=torch.tensor(cell if pbc.any() else np.zeros((3, 3)), dtype=torch.float64)[None],
        pbc=torch.tensor(pbc)[None],
        total_charge=torch.tensor([total_charge], dtype=torch.float64),
        neighbors=padded_table(pairs, len(atoms)),
        ewald=ewald_terms(atoms, settings),
    )


def ewald_terms(atoms: Atoms, settings: GeometrySettings) -> EwaldTerms:
    """Real-space pairs and k vectors of a crystal; nothing for a molecule or a model without charges."""
    pbc = atoms.pbc
    if settings.largest_width == 0 or not pbc.any():
        nothing = torch.zeros(0, dtype=torch.int64)
        pairs = Pairs(nothing, nothing, torch.zeros(0, 3, dtype=torch.int64))
        return EwaldTerms(pairs, torch.zeros(1, 0, 3, dtype=torch.int64), torch.ones(1, dtype=torch.float64))
    if not pbc.all():
        raise ValueError(
            f"{place(atoms)}: periodic in {int(pbc.sum())} of 3 directions, but charges need all three or none; "
            'make it periodic in all with vacuum between the images, or use a model with energy="none".'
        )
    cell = np.asarray(atoms.cell)
    plan = plan_ewald(cell, len(atoms), settings.largest_width, settings.accuracy)
    pairs = neighbor_pairs(atoms.positions, cell, pbc, plan.cutoff)
    return EwaldTerms(pairs, torch.from_numpy(plan.triplets)[None], torch.tensor([plan.split], dtype=torch.float64))


def check_geometry(atoms: Atoms) -> None:
    """Raise ValueError for what no neighbour list can be made of."""
    if len(atoms) == 0:
        raise ValueError(f"{place(atoms)}: there are no atoms")
    check_finite(atoms, atoms.positions, "positions")
    cell = np.asarray(atoms.cell)
    if atoms.pbc.any() and not abs(np.linalg.det(atoms.cell.complete())) > 1e-6:
        raise ValueError(f"{place(atoms)}: the cell {cell.tolist()} has no volume; give three independent vectors.")
    missing = [axis for axis in range(3) if atoms.pbc[axis] and not np.linalg.norm(cell[axis]) > 1e-6]
    if missing:
        raise ValueError(
            f"{place(atoms)}: periodic along lattice vector {missing[0]}, but that vector is zero; "
            'give Lattice="..." in the comment line, or pbc="F F F" for a molecule.'
        )


def check_distances(atoms: Atoms, pairs: Pairs) -> None:
    """Raise ValueError for two atoms (or an atom and an image) at one place."""
    images = pairs.shift.numpy() @ np.asarray(atoms.cell)
    vectors = atoms.positions[pairs.neighbor] + images - atoms.positions[pairs.center]
    distances = np.linalg.norm(vectors, axis=1)
    if len(distances) and distances.min() < CLOSEST:
        first, second = (int(part[distances.argmin()]) for part in (pairs.center, pairs.neighbor))
        raise ValueError(
            f"{place(atoms)}: atoms {first} and {second} are at one place ({distances.min():.1e} Å apart); remove one."
        )


def check_finite(atoms: Atoms, values: NDArray[Any], name: str) -> None:
    """Raise ValueError for NaN or infinity, naming the atom where there is one."""
    wrong = np.argwhere(~np.isfinite(values))
    if len(wrong):
        atom = f", atom {wrong[0][0]}" if values.ndim and len(values) == len(atoms) else ""
        raise ValueError(f"{place(atoms)}{atom}: {name} is not a finite number; correct or remove it.")


def total_charge_of(atoms: Atoms, keys: LabelKeys, default: float | None) -> float:
    """Total charge in e that a frame states, else the default.

    Raises ValueError if it states two different ones, or none and there is no default.
    """
    names = [keys.total_charge] if keys.total_charge else list(TOTAL_CHARGE_KEYS)
    stated = {name: float(atoms.info[name]) for name in names if name in atoms.info}
    if len(set(stated.values())) > 1:
        raise ValueError(f"{place(atoms)}: total charges disagree: {stated}; keep one.")
    if stated:
        check_finite(atoms, np.array(list(stated.values())[0]), "total charge")
        return next(iter(stated.values()))
    if default is None:
        raise ValueError(
            f"{place(atoms)}: total charge is missing (looked for {', '.join(names)}); "
            "add total_charge=<e> to the frame's comment line (atoms.info), or set a default total charge."
        )
    return default


def labels_of(atoms: Atoms, keys: LabelKeys) -> Labels:
    """Labels of one frame, NaN where it has none.

    Raises ValueError for a label of the wrong shape or with numbers that are not finite.
    """
    n = len(atoms)
    return Labels(
        energy=label(atoms, keys, "energy", (1,)),
        forces=label(atoms, keys, "forces", (n, 3)),
        stress=stress_label(atoms, keys),
        charges=label(atoms, keys, "charges", (n,)),
        dipole=label(atoms, keys, "dipole", (1, 3)),
    )


def label_sources(atoms: Atoms, keys: LabelKeys) -> dict[str, str | None]:
    """Where each property of a frame is read from; None where it is missing."""
    sources = {name: source(atoms, keys, name) for name in ("energy", "forces", "stress", "charges", "dipole")}
    if sources["stress"] is None and keys.stress is None:
        sources["stress"] = source(atoms, keys, "virial")
    names = [keys.total_charge] if keys.total_charge else list(TOTAL_CHARGE_KEYS)
    return {**sources, "total_charge": next((name for name in names if name in atoms.info), None)}


def source(atoms: Atoms, keys: LabelKeys, name: str) -> str | None:
    """The key that holds a property: the configured one, REF_x, the calculator's result, or x itself."""
    configured = getattr(keys, name, None)
    stored = {**atoms.info, **atoms.arrays}
    if configured is not None:
        return configured if configured in stored or configured in results(atoms) else None
    if f"REF_{name}" in stored:
        return f"REF_{name}"
    return name if name in results(atoms) or name in stored else None


def results(atoms: Atoms) -> dict[str, Any]:
    """What a single-point calculator holds; ASE moves energy, forces, stress, charges and dipole there on reading."""
    return {} if atoms.calc is None else dict(atoms.calc.results)


def value(atoms: Atoms, key: str) -> NDArray[np.float64]:
    """A label as numbers: from the calculator's results under its plain name, else from info or arrays."""
    stored = {**atoms.info, **atoms.arrays, **results(atoms)}
    try:
        return np.asarray(stored[key], dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{place(atoms)}: {key} is not numeric, got {stored[key]!r}") from None


def label(atoms: Atoms, keys: LabelKeys, name: str, shape: Sequence[int]) -> torch.Tensor:
    key = source(atoms, keys, name)
    if key is None:
        return torch.full(tuple(shape), torch.nan, dtype=torch.float64)
    values = value(atoms, key)
    if values.size != np.prod(shape):
        raise ValueError(f"{place(atoms)}: {key} should have {int(np.prod(shape))} numbers, got {values.size}")
    check_finite(atoms, values.reshape(shape)[0] if shape[0] == 1 else values.reshape(shape), key)
    return torch.tensor(values.reshape(shape))


def stress_label(atoms: Atoms, keys: LabelKeys) -> torch.Tensor:
    """(1, 3, 3)  eV/Å³ in ASE's sign, from a stress or from a virial (−V times it)."""
    key = source(atoms, keys, "stress")
    virial = source(atoms, keys, "virial") if key is None and keys.stress is None else None
    if not atoms.pbc.all() or (key is None and virial is None):
        return torch.full((1, 3, 3), torch.nan, dtype=torch.float64)
    name = key or virial or ""
    tensor = square(atoms, value(atoms, name), name)
    return torch.tensor(tensor if virial is None else -tensor / atoms.get_volume())[None]


def square(atoms: Atoms, values: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    """3 x 3 from 6 numbers (xx yy zz yz xz xy), 9 or 3 x 3."""
    if values.size == 6:
        xx, yy, zz, yz, xz, xy = values.ravel()
        values = np.array([xx, xy, xz, xy, yy, yz, xz, yz, zz])
    if values.size != 9:
        raise ValueError(f"{place(atoms)}: {name} should have 6 or 9 numbers, got {values.size}")
    check_finite(atoms, values[None], name)
    return values.reshape(3, 3)


def check_charge_sum(atoms: Atoms, labels: Labels, total_charge: float) -> None:
    """Raise ValueError if the labelled charges do not add up to the total charge."""
    total = float(labels.charges.sum())
    if abs(total - total_charge) > CHARGE_SUM_TOLERANCE:
        raise ValueError(
            f"{place(atoms)}: the charges add up to {total:+.4f} e, but the total charge is {total_charge:+g} e; "
            "correct the charges or total_charge."
        )
