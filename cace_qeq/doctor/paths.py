"""Whether energy and stress change in steps while a cell is deformed, as k vectors and pairs come and go."""

import numpy as np
from numpy.typing import NDArray

from cace_qeq.doctor.check import Check
from cace_qeq.doctor.patient import Patient
from cace_qeq.doctor.strains import deformed, frame, has_stress, measure, slope

Floats = NDArray[np.float64]

STEP = 1e-3  # of strain
N_POINTS = 16
ENERGY = 1e-7  # eV/atom
STRESS = 1e-6  # eV/Å³ of a crystal, eV/Å² of a slab


def cell_paths(patient: Patient) -> list[Check]:
    """Along a path of volumes (of areas, for a slab) and one of shears, with all sums planned anew at every point."""
    if not has_stress(patient.atoms):
        return []
    axes = frame(patient.atoms)
    shear = np.outer(axes[0], axes[1])
    return [*steps(patient, "volume", axes.T @ axes), *steps(patient, "shear", shear + shear.T)]


def steps(patient: Patient, name: str, strain: Floats) -> list[Check]:
    """Largest difference between what the energy does and what the stress says, and jump of the stress."""
    points = STEP * (np.arange(N_POINTS) - N_POINTS // 2)
    energies, slopes = np.array([along(patient, strain, point) for point in points]).T
    # the integral between two points of the cubic through four; only a step differs from it
    inner = 13 * (slopes[1:-2] + slopes[2:-1]) - slopes[:-3] - slopes[3:]
    energy = np.abs(np.diff(energies)[1:-1] - STEP / 24 * inner).max() / len(patient.atoms)
    # a step of one makes fifth differences of 1, 4, 6, 4 and 1; what is smooth makes none to speak of
    stress = np.abs(np.diff(slopes, 5)).max() / 6 / measure(patient.atoms)
    scale = patient.largest_force
    unit = "eV/Å³" if patient.atoms.pbc.all() else "eV/Å²"
    return [
        Check(f"steps along a {name} path: energy", float(energy), ENERGY * scale + patient.rounding, "eV/atom"),
        Check(f"steps along a {name} path: stress", float(stress), STRESS * scale, unit),
    ]


def along(patient: Patient, strain: Floats, point: float) -> tuple[float, float]:
    """Energy and its derivative, eV, at a point of the path."""
    deformation = np.eye(3) + point * strain
    atoms = deformed(patient.atoms, deformation)
    prediction = patient.prediction_of(atoms)
    onwards: Floats = np.linalg.solve(deformation, strain).astype(np.float64)  # x dF = x F (F⁻¹ dF)
    return float(prediction.energy), slope(prediction, atoms, onwards)
