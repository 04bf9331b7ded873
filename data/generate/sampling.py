"""Geometries: relaxation, harmonic thermal samples, random rotations."""

from collections.abc import Iterator, Sequence

import numpy as np
from ase import Atoms
from ase.data import atomic_masses
from ase.optimize import BFGS
from ase.units import kB

from generate.engine import Array, ChargeState, TightBindingCalculator, displaced, single_point

SOFTEST = 0.15  # eV/Å²; softer and imaginary modes are stiffened to this over the heaviest mass
LARGEST_DISPLACEMENT = 0.6  # Å, along one axis
HESSIAN_STEP = 0.01  # Å


def relaxed(atoms: Atoms, state: ChargeState) -> Atoms:
    """The nearest minimum, to forces below 0.01 eV/Å, centred."""
    atoms = atoms.copy()
    atoms.calc = TightBindingCalculator(state)
    BFGS(atoms, logfile=None).run(fmax=0.01, steps=300)
    atoms.calc = None
    return centred(atoms)


def centred(atoms: Atoms) -> Atoms:
    """A copy with the centre of mass at the origin."""
    copy = atoms.copy()
    copy.positions -= copy.get_center_of_mass()
    return copy


def hessian(atoms: Atoms, state: ChargeState) -> Array:
    """(3 atom, 3 atom)  eV/Å², central differences of forces, symmetrised."""
    rows = []
    for i in range(3 * len(atoms)):
        up, down = (single_point(displaced(atoms, i, s * HESSIAN_STEP), state).forces for s in (1, -1))
        rows.append((down - up).reshape(-1) / (2 * HESSIAN_STEP))
    matrix = np.array(rows)
    return np.asarray((matrix + matrix.T) / 2)


def thermal_samples(
    minimum: Atoms, curvature: Array, temperatures: Sequence[float], generator: np.random.Generator
) -> Iterator[tuple[Atoms, float]]:
    """Endless classical harmonic samples, randomly rotated, with their temperatures (K) in turn."""
    stiffness, modes = vibrations(minimum, curvature)
    while True:
        for temperature in temperatures:
            spread = np.sqrt(kB * temperature / stiffness)
            atoms = minimum.copy()
            atoms.positions += bounded_displacement(minimum, spread, modes, generator)
            atoms = centred(atoms)
            atoms.positions = atoms.positions @ random_rotation(generator).T
            yield atoms, temperature


def vibrations(atoms: Atoms, curvature: Array) -> tuple[Array, Array]:
    """Mass-weighted stiffnesses (eV/(Å² u)) and modes (3 atom, mode), without rigid motions."""
    masses = np.repeat(atomic_masses[atoms.numbers], 3)
    rigid = rigid_motions(atoms)
    projector = np.eye(len(masses)) - rigid @ rigid.T
    stiffness, modes = np.linalg.eigh(projector @ (curvature / np.sqrt(np.outer(masses, masses))) @ projector)
    internal = np.ones(len(stiffness), bool)
    internal[np.argsort(np.linalg.norm(projector @ modes, axis=0))[: rigid.shape[1]]] = False
    return np.maximum(stiffness[internal], SOFTEST / masses.max()), modes[:, internal]


def rigid_motions(atoms: Atoms) -> Array:
    """(3 atom, 5 or 6)  orthonormal mass-weighted translations and rotations."""
    weights = np.sqrt(atoms.get_masses())[:, None]
    arms = atoms.positions - atoms.get_center_of_mass()
    motions = []
    for axis in np.eye(3):
        motions += [np.tile(axis, (len(atoms), 1)) * weights, np.cross(axis, arms) * weights]
    basis, size, _ = np.linalg.svd(np.array(motions).reshape(6, -1).T, full_matrices=False)
    return np.asarray(basis[:, size > 1e-3 * size[0]])


def bounded_displacement(atoms: Atoms, spread: Array, modes: Array, generator: np.random.Generator) -> Array:
    """(atom, 3)  Å  one draw, repeated while an atom moves too far."""
    masses = np.repeat(atomic_masses[atoms.numbers], 3)
    while True:
        shift = modes @ (generator.normal(size=len(spread)) * spread) / np.sqrt(masses)
        if np.abs(shift).max() < LARGEST_DISPLACEMENT:
            return np.asarray(shift.reshape(-1, 3))


def random_rotation(generator: np.random.Generator) -> Array:
    """(3, 3)  proper rotation."""
    matrix, _ = np.linalg.qr(generator.normal(size=(3, 3)))
    return np.asarray(matrix * np.sign(np.linalg.det(matrix)))
