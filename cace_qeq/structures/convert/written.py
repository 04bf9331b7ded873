"""Labelled frames as extended xyz under this package's own keys."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from ase.outputs import all_outputs
from numpy.typing import NDArray

from cace_qeq.files import write_atomically
from cace_qeq.structures.convert.conditions import CONDITION_KEYS
from cace_qeq.structures.convert.frames import MODEL, SOURCE
from cace_qeq.structures.convert.lookup import LabelKeys, is_silenced, label_sources, labels_of, total_charge_of
from cace_qeq.structures.labels import PROPERTIES

PER_ATOM = ("electronegativities", "forces_spread", "charges_spread")
UNWANTED = ("free_energy", "external_forces")  # the energy once more, and no property of the atoms
KNOWN = ("numbers", "positions", "masses", "config_type")
OF_MODELS = (*all_outputs, "short_range_energy", "electrostatic_energy", "surface_stress", "electronegativities")
"""Names of results, which a file may hold of another model."""


def write_frames(path: Path, frames: Sequence[Atoms], keys: LabelKeys) -> None:
    """REF_energy, REF_forces, ... of all properties, and total_charge, where there is one, in eV, Å, e.

    raises  ValueError for labels that `labels_of` refuses
    """
    text = io.StringIO()
    write(text, [relabelled(atoms, keys) for atoms in frames], format="extxyz")
    write_atomically(path, text.getvalue().encode())


def left_out(frames: Sequence[Atoms], keys: LabelKeys) -> list[str]:
    """Keys of frames that `write_frames` does not write, in alphabetical order."""
    found: set[str] = set()
    for atoms in frames:
        used = {*label_sources(atoms, keys).values(), *CONDITION_KEYS, *KNOWN, SOURCE, MODEL}
        found |= {key for key in (*atoms.info, *atoms.arrays) if key not in used and not weighs(key)}
    return sorted(found)


def write_predictions(
    path: Path, frames: Sequence[Atoms], predictions: Sequence[dict[str, Any]], model: str, keys: LabelKeys
) -> None:
    """Frames with results where ASE looks for them, labels beside them as in `write_frames`, and all else they told.

    What another model said of them is left out.

    predictions  results of a calculator for each frame
    model        its `mark`, by which the results are known not to be labels
    keys         of labels

    raises  ValueError for labels that `labels_of` refuses
    """
    text, results = io.StringIO(), [prediction | {MODEL: model} for prediction in predictions]
    write(text, [with_results(*pair, keys) for pair in zip(frames, results, strict=True)], format="extxyz")
    write_atomically(path, text.getvalue().encode())


def with_results(atoms: Atoms, prediction: dict[str, Any], keys: LabelKeys) -> Atoms:
    results = {name: value for name, value in prediction.items() if name not in UNWANTED}
    labelled, found = relabelled(atoms, keys), atoms.copy()
    found.info = {
        key: value for key, value in atoms.info.items() if not (key == SOURCE or of_models(key) or weighs(key))
    }
    found.arrays = {key: as_columns(values) for key, values in atoms.arrays.items() if not of_models(key)}
    found.info |= labelled.info
    found.arrays |= labelled.arrays
    found.info |= {f"config_{name}_weight": 0.0 for name in PROPERTIES if is_silenced(atoms, keys, name)}
    found.calc = SinglePointCalculator(found, **{name: results.pop(name) for name in all_outputs if name in results})
    for name, value in results.items():
        (found.arrays if name in PER_ATOM else found.info)[name] = value
    return found


def weighs(key: str) -> bool:
    """Whether a key is the weight of a label, of which `relabelled` writes the product."""
    return key == "config_weight" or (key.startswith("config_") and key.endswith("_weight"))


def of_models(key: str) -> bool:
    return key.removesuffix("_spread") in OF_MODELS


def as_columns(values: NDArray[Any]) -> NDArray[Any]:
    """As files hold them: (atom,) or (atom, column)."""
    return values if values.ndim < 3 else values.reshape(len(values), -1)


def relabelled(atoms: Atoms, keys: LabelKeys) -> Atoms:
    """The structure with its labels and their weights, masses and the conditions on its charges, and nothing else."""
    labels = labels_of(atoms, keys)
    bare = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    bare.arrays |= {key: atoms.arrays[key] for key in ("masses", *CONDITION_KEYS) if key in atoms.arrays}
    bare.info |= {
        "REF_energy": labels.energy.item(),
        "REF_stress": labels.stress[0].numpy().ravel(),  # nine numbers, which others than ASE read too
        "REF_dipole": labels.dipole[0].numpy(),
        "total_charge": total_charge_of(atoms, keys, float("nan")),
    }
    bare.info = {key: value for key, value in bare.info.items() if not np.isnan(value).any()}
    bare.info |= {key: atoms.info[key] for key in (*CONDITION_KEYS, "config_type") if key in atoms.info}
    weights = zip(PROPERTIES, labels.weights[0].tolist(), strict=True)
    bare.info |= {f"config_{name}_weight": weight for name, weight in weights if weight != 1}
    per_atom = {
        "REF_forces": labels.forces,
        "REF_charges": labels.charges,
        "REF_born_charges": labels.born_charges.flatten(1),
    }
    bare.arrays |= {key: values.numpy() for key, values in per_atom.items() if values.isfinite().all()}
    return bare
