"""Thermal velocities, and the temperature of the motion that is really free."""

import numpy as np
from ase import Atoms, units
from ase.constraints import FixAtoms, FixCartesian
from numpy.typing import NDArray

from cace_qeq.simulation.trajectory import held

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


def heeds_conditions(atoms: Atoms) -> bool:
    """Whether the calculator pays attention to fields and external charges; before there is one, it may."""
    return "external_forces" in getattr(atoms.calc, "implemented_properties", ("external_forces",))


def feels_external_charges(atoms: Atoms) -> bool:
    """Whether there are any, and the model pays attention to them."""
    return heeds_conditions(atoms) and np.size(atoms.info.get("external_charges", ())) > 0


def drifts_apart(atoms: Atoms, ensemble: str) -> bool:
    """Whether drift shares nothing with the other motions: at constant energy, in a field that is uniform or none.

    A field accelerates an ion as a whole; that is no heat.
    """
    return ensemble == "nve" and not atoms.constraints and not feels_external_charges(atoms)


def free_motions(atoms: Atoms, ensemble: str) -> int:
    """Degrees of freedom that share the kinetic energy, at least one.

    A bath moves all of them; without one drift is apart, and a molecule's rotation stays what it is: momenta that
    come from a bath have one, drawn ones do not. External charges push and turn a molecule, and a field turns it.
    """
    others = [c for c in atoms.constraints if not isinstance(c, FixAtoms | FixCartesian)]
    removed = sum(constraint.get_removed_dof(atoms) for constraint in others)
    free = int((~held(atoms)).sum() - removed)  # ASE counts a coordinate twice that is held twice
    if drifts_apart(atoms, ensemble):
        free -= 3
        turned = heeds_conditions(atoms) and np.any(atoms.info.get("electric_field", 0.0))
        momenta = atoms.get_momenta()
        small = STILL * np.abs(momenta).max()
        if not turned and not atoms.pbc.any() and np.abs(turning(atoms, momenta)).max() <= small:
            free -= int(np.linalg.matrix_rank(inertia(atoms), tol=None, hermitian=True, rtol=LINEAR))
    return max(free, 1)


def temperature_of(atoms: Atoms, ensemble: str, free: int) -> float:
    """K, of the free motions

    free  their number
    """
    kinetic = float(atoms.get_kinetic_energy())
    if drifts_apart(atoms, ensemble):
        kinetic -= float((atoms.get_momenta().sum(axis=0) ** 2).sum() / atoms.get_masses().sum() / 2)
    return 2 * kinetic / (free * units.kB)
