"""Labelled frames, what a code says of them, and the difference."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import ase.io
import numpy as np
import torch
from ase import Atoms
from ase.stress import voigt_6_to_full_3x3_stress
from torch import Tensor

UNITS = {
    "total_energy": "mev",
    "energy": "mev_per_atom",
    "forces": "mev_per_angstrom",
    "charges": "me",
    "stress": "mev_per_cubic_angstrom",
    "dipole": "me_angstrom",
}


@dataclass(frozen=True)
class Scale:
    """What a model may know of its training frames before it is trained.

    forces     eV/Å, root mean square
    neighbors  within the cutoff, on average
    """

    forces: float = 1.0
    neighbors: float = 70.0  # water at 1 g/cc within 5.5 Å


@dataclass(frozen=True)
class Target:
    """Labels of one or several frames; NaN where there is none.

    energy   (structure,)       eV, of which reference energies have been taken
    forces   (atom, 3)          eV/Å
    charges  (atom,)            e
    stress   (structure, 3, 3)  eV/Å³
    dipole   (structure, 3)     e Å
    n_atoms  (structure,)
    """

    energy: Tensor
    forces: Tensor
    charges: Tensor
    stress: Tensor
    dipole: Tensor
    n_atoms: Tensor


@dataclass(frozen=True)
class Predicted:
    """The same of a model; None for what it does not predict."""

    energy: Tensor
    forces: Tensor
    charges: Tensor | None = None
    stress: Tensor | None = None
    dipole: Tensor | None = None


def read(paths: Sequence[str], box: float) -> list[Atoms]:
    """Frames of some files, in order.

    box  Å, edge of the periodic cube that they lie in, or 0 to take them as they are
    """
    frames = [atoms for path in paths for atoms in ase.io.read(path, ":")]
    for atoms in frames if box else ():
        atoms.cell, atoms.pbc = [box] * 3, True
    return frames


def energy_of(atoms: Atoms) -> float:
    return float(atoms.info["REF_energy"])


def target(atoms: Atoms, references: dict[int, float]) -> Target:
    reference = sum(references[number] for number in atoms.numbers.tolist())
    values = (
        [energy_of(atoms) - reference],
        atoms.arrays["REF_forces"],
        atoms.arrays.get("REF_charges", np.full(len(atoms), np.nan)),
        np.reshape(full_stress(atoms), (1, 3, 3)),
        np.reshape(atoms.info.get("REF_dipole", np.full(3, np.nan)), (1, 3)),
    )
    energy, forces, charges, stress, dipole = (torch.tensor(value, dtype=torch.float64) for value in values)
    return Target(energy, forces, charges, stress, dipole, torch.tensor([len(atoms)]))


def full_stress(atoms: Atoms) -> np.ndarray:
    """(3, 3) or (9,)  eV/Å³, from as many numbers or from Voigt's six"""
    found = np.asarray(atoms.info.get("REF_stress", np.full(9, np.nan)))
    return voigt_6_to_full_3x3_stress(found) if found.size == 6 else found


def joined(targets: Sequence[Target]) -> Target:
    return Target(*(torch.cat([getattr(part, field.name) for part in targets]) for field in fields(Target)))


def reference_energies(frames: Sequence[Atoms], energies: Sequence[float]) -> dict[int, float]:
    """eV by atomic number: least squares of the frames' energies on compositions, of smallest norm."""
    numbers = sorted({number for atoms in frames for number in atoms.numbers.tolist()})
    counts = np.array([[(atoms.numbers == number).sum() for number in numbers] for atoms in frames])
    return dict(zip(numbers, np.linalg.lstsq(counts, energies, rcond=None)[0].tolist(), strict=True))


def nested(frames: list[Atoms], n_frames: int) -> list[Atoms]:
    """The first of one fixed random order, so that smaller subsets lie in larger ones; 0 for all.

    raises  ValueError for more than there are
    """
    if n_frames > len(frames):
        raise ValueError(f"--frames {n_frames}: the set has {len(frames)} training frames; 0 takes all.")
    order = np.random.default_rng(0).permutation(len(frames))
    return [frames[index] for index in sorted(order[: n_frames or None].tolist())]


class ErrorSums:
    """Errors of predictions, batch by batch."""

    def __init__(self) -> None:
        self.errors: dict[str, list[Tensor]] = {name: [] for name in UNITS}

    def add(self, predicted: Predicted, label: Target) -> None:
        energy = 1e3 * (predicted.energy.detach() - label.energy)
        self.errors["total_energy"].append(energy)
        self.errors["energy"].append(energy / label.n_atoms)
        for name in ("forces", "charges", "stress", "dipole"):
            value, labelled = getattr(predicted, name), getattr(label, name)
            if value is not None:
                known = labelled.isfinite()
                self.errors[name].append(1e3 * (value.detach()[known] - labelled[known]))

    def results(self) -> dict[str, float]:
        """In UNITS, of what is labelled and predicted.

        raises  FloatingPointError for predictions that are not finite
        """
        found = {}
        for name, errors in ((name, torch.cat(parts)) for name, parts in self.errors.items() if parts):
            if not errors.isfinite().all():
                raise FloatingPointError(f"predictions of {name} are not finite.")
            if len(errors):
                found[f"{name}_rmse_{UNITS[name]}"] = float(errors.square().mean().sqrt())
                found[f"{name}_mae_{UNITS[name]}"] = float(errors.abs().mean())
        return found


def loss(predicted: Predicted, label: Target, scale: Scale, weights: tuple[float, float]) -> Tensor:
    """Mean squares of errors in units of the force scale s: forces, energies per atom (s · 1 Å), labelled charges (e).

    weights  of energies and of charges
    """
    energy = ((predicted.energy - label.energy) / label.n_atoms / scale.forces).square().mean()
    total = weights[0] * energy + ((predicted.forces - label.forces) / scale.forces).square().mean()
    labelled = label.charges.isfinite()
    if not weights[1] or not labelled.any():
        return total
    assert predicted.charges is not None, "only a model that predicts charges is trained on them"
    return total + weights[1] * (predicted.charges - label.charges)[labelled].square().mean()
