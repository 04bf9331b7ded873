"""Thermal velocities, and the temperature of the motion that is really free."""

import numpy as np
from ase import Atoms, units
from numpy.typing import NDArray

Floats = NDArray[np.float64]

STILL = 1e-2  # beside the largest momentum of an atom: where that much is thermal, atoms are too many to matter
LINEAR = 1e-8  # a principal moment of inertia this small beside the largest belongs to a line


def draw_velocities(atoms: Atoms, temperature: float, seed: int) -> None:
    """Maxwell–Boltzmann momenta without drift, and for molecules without rotation, in place.

    Drift and rotation are projected out without rescaling: the other motions keep the temperature that was
    asked for, on average. Atoms held by constraints stay at rest, and then nothing is projected out.

    temperature  K
    """
    noise = np.random.default_rng(seed).standard_normal((len(atoms), 3))
    momenta = noise * np.sqrt(atoms.get_masses() * units.kB * temperature)[:, None]
    if not atoms.constraints:
        momenta -= rigid_momenta(atoms, momenta)
    atoms.set_momenta(momenta)


def rigid_momenta(atoms: Atoms, momenta: Floats) -> Floats:
    """The part of momenta that moves the structure as a whole, and turns it unless it is periodic."""
    return drift(atoms, momenta) if atoms.pbc.any() else drift(atoms, momenta) + turning(atoms, momenta)


def drift(atoms: Atoms, momenta: Floats) -> Floats:
    masses = atoms.get_masses()[:, None]
    return np.asarray(masses * momenta.sum(axis=0) / masses.sum())


def turning(atoms: Atoms, momenta: Floats) -> Floats:
    """About the centre of mass, of a molecule."""
    arms = atoms.positions - atoms.get_center_of_mass()
    angular_momentum = np.cross(arms, momenta).sum(axis=0)
    rotation = np.linalg.pinv(inertia(atoms), rcond=LINEAR, hermitian=True) @ angular_momentum
    return np.asarray(atoms.get_masses()[:, None] * np.cross(rotation, arms))


def inertia(atoms: Atoms) -> Floats:
    """(3, 3)  u Å², about the centre of mass"""
    arms = atoms.positions - atoms.get_center_of_mass()
    weighted = atoms.get_masses()[:, None] * arms
    return np.trace(arms.T @ weighted) * np.eye(3) - arms.T @ weighted


def feels_external_charges(atoms: Atoms) -> bool:
    """Whether there are any, and the model pays attention to them."""
    felt = "external_forces" in getattr(atoms.calc, "implemented_properties", ("external_forces",))
    return felt and np.size(atoms.info.get("external_charges", ())) > 0


def free_motions(atoms: Atoms, ensemble: str) -> int:
    """Degrees of freedom that share the kinetic energy, at least one.

    A bath moves all of them; without one, drift and a molecule's rotation stay what they are: momenta that come from
    a bath have both, drawn ones neither. External charges push and turn a molecule, and a field turns it.
    """
    free = int(atoms.get_number_of_degrees_of_freedom())
    if ensemble == "nve" and not atoms.constraints:
        pushed = feels_external_charges(atoms)
        turned = pushed or np.any(atoms.info.get("electric_field", 0.0))
        momenta = atoms.get_momenta()
        small = STILL * np.abs(momenta).max()
        if not pushed and np.abs(drift(atoms, momenta)).max() <= small:
            free -= 3
        if not turned and not atoms.pbc.any() and np.abs(turning(atoms, momenta)).max() <= small:
            free -= int(np.linalg.matrix_rank(inertia(atoms), tol=None, hermitian=True, rtol=LINEAR))
    return max(free, 1)
