"""Deformations that a structure's boundary allows, and how its energy answers them."""

import numpy as np
from numpy.typing import NDArray

from cace_qeq.prediction import Prediction
from cace_qeq.structures import Atoms

Floats = NDArray[np.float64]
FEWEST = 2  # periodic directions of a structure that has a stress


def has_stress(atoms: Atoms) -> bool:
    return int(atoms.pbc.sum()) >= FEWEST


def frame(atoms: Atoms) -> Floats:
    """(direction, 3)  orthonormal vectors along all periodic directions"""
    return np.linalg.qr(atoms.cell.array[atoms.pbc].T)[0].T


def measure(atoms: Atoms) -> float:
    """Å³ of a crystal, Å² of a slab"""
    vectors = atoms.cell.array[atoms.pbc]
    return float(np.sqrt(np.linalg.det(vectors @ vectors.T)))


def stress_of(prediction: Prediction, atoms: Atoms) -> Floats:
    """(3, 3)  eV/Å³ of a crystal, eV/Å² of a slab"""
    stress = prediction.stress if atoms.pbc.all() else prediction.surface_stress
    return np.asarray(stress[0].numpy())


def slope(prediction: Prediction, atoms: Atoms, strain: Floats) -> float:
    """eV, derivative of the energy along a strain, (3, 3)"""
    return measure(atoms) * float((stress_of(prediction, atoms) * strain).sum())


def deformed(atoms: Atoms, deformation: Floats) -> Atoms:
    """Positions, cell and external charges times a matrix, (3, 3)."""
    moved = atoms.copy()
    moved.positions = atoms.positions @ deformation
    moved.set_cell(atoms.cell.array @ deformation)
    if "external_positions" in atoms.info:
        moved.info["external_positions"] = np.atleast_2d(atoms.info["external_positions"]) @ deformation
    return moved
