"""Whether an atom feels it when it is pulled through the cutoff."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cace_qeq.doctor.check import Check
from cace_qeq.doctor.patient import Patient
from cace_qeq.structures import neighbor_pairs

Floats = NDArray[np.float64]

STEP = 2e-5  # Å; what is smooth changes by its third power
PLACES = tuple(n * STEP for n in (-5, -3, -1, 1, 3, 5))  # beyond the cutoff
REACH = 2.0  # Å; of pairs beyond the cutoff
ENERGY = 1e-8  # eV
FORCE = 1e-6  # eV/Å


@dataclass(frozen=True)
class Pull:
    """An atom that is pulled through the cutoff of another.

    atom       that moves
    direction  (3,)  unit vector
    distance   Å, to the cutoff
    """

    atom: int
    direction: Floats
    distance: float


@dataclass(frozen=True)
class Jump:
    """What happens at the cutoff: energy in eV, force in eV/Å, and the largest force nearby."""

    energy: float
    force: float
    scale: float


def passage(patient: Patient) -> list[Check]:
    """One pair of every two elements, that which is nearest to the cutoff; nothing for an atom alone."""
    jumps = [jump(patient, pull) for pull in pulls(patient)]
    if not jumps:
        return []
    scale = max(1.0, max(one.scale for one in jumps))
    energy, force = (float(np.max([getattr(one, name) for one in jumps])) for name in ("energy", "force"))
    return [
        Check("jump at the cutoff: energy", energy, ENERGY * scale + 2 * patient.rounding, "eV"),
        Check("jump at the cutoff: forces", force, FORCE * scale, "eV/Å"),
    ]


def pulls(patient: Patient) -> list[Pull]:
    """Shortest ways to the cutoff."""
    atoms, cutoff = patient.atoms, patient.model.config.cutoff
    pairs = neighbor_pairs(atoms.positions, atoms.cell.array, atoms.pbc, cutoff + REACH)
    center, neighbor, shift = pairs.center.numpy(), pairs.neighbor.numpy(), pairs.shift.numpy()
    arms = atoms.positions[neighbor] - atoms.positions[center] + shift @ atoms.cell.array
    distances = np.linalg.norm(arms, axis=1)
    found: dict[tuple[int, int], Pull] = {}
    for pair in np.abs(distances - cutoff).argsort(kind="stable"):
        here, there = int(center[pair]), int(neighbor[pair])
        first, second = sorted((int(atoms.numbers[here]), int(atoms.numbers[there])))
        if here != there and (first, second) not in found:  # an atom never leaves its own image
            way = float(cutoff - distances[pair])
            found[first, second] = Pull(there, arms[pair] / distances[pair], way)
    return list(found.values())


def jump(patient: Patient, pull: Pull) -> Jump:
    """By the trapezoidal rule for the energy, and parabolas from either side for the forces."""
    predictions = []
    for place in PLACES:
        moved = patient.atoms.copy()
        moved.positions[pull.atom] += (pull.distance + place) * pull.direction
        predictions.append(patient.prediction_of(moved))
    energies = [float(one.energy) for one in predictions]
    forces = [one.forces.numpy() for one in predictions]
    work = STEP * float((forces[2] + forces[3])[pull.atom] @ pull.direction)
    before, after = ((15 * near - 10 * next_ + 3 * far) / 8 for near, next_, far in (forces[2::-1], forces[3:]))
    return Jump(
        energy=abs(energies[3] - energies[2] + work),
        force=float(np.linalg.norm(after - before, axis=1).max()),
        scale=float(np.abs(forces).max()),
    )
