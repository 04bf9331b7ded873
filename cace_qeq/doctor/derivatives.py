"""Whether forces and stress are the derivatives of the energy."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from cace_qeq.doctor.check import Check
from cace_qeq.doctor.patient import Patient
from cace_qeq.doctor.strains import frame, has_stress, measure, slope

STEPS = (1e-3, 1e-4)  # Å, and of strain; a wrong derivative is wrong with both, however steep the energy is
N_DIRECTIONS = 3
LIMIT = 1e-6  # relative


def finite_differences(patient: Patient) -> list[Check]:
    """Along random directions, with the integers of neighbours and k vectors kept."""
    checks = [forces(patient)]
    return [*checks, stress(patient)] if has_stress(patient.atoms) else checks


def forces(patient: Patient) -> Check:
    batch, errors = patient.batch, []
    for seed in range(N_DIRECTIONS):
        direction = torch.from_numpy(np.random.default_rng(seed).normal(size=(batch.n_atoms, 3)))
        expected = -float((patient.prediction.forces * direction).sum())
        errors.append(error(partial(displaced, patient, direction), expected))
    limit = LIMIT * patient.largest_force + patient.rounding / STEPS[0]
    return Check("forces against finite differences", largest(errors), limit, "eV/Å")


def stress(patient: Patient) -> Check:
    """Of all strains in the periodic directions together, random and symmetric."""
    atoms, errors, slopes = patient.atoms, [], []
    axes = frame(atoms)
    for seed in range(N_DIRECTIONS):
        random = np.random.default_rng(seed).normal(size=(len(axes), len(axes)))
        strain = axes.T @ (random + random.T) @ axes / 2
        slopes.append(slope(patient.prediction, atoms, strain))
        errors.append(error(partial(strained, patient, torch.from_numpy(strain)), slopes[-1]))
    size, unit = measure(atoms), "eV/Å³" if atoms.pbc.all() else "eV/Å²"
    scale = max(patient.largest_force, largest(slopes))
    limit = (LIMIT * scale + patient.rounding / STEPS[0]) / size
    return Check("stress against finite differences", largest(errors) / size, limit, unit)


def displaced(patient: Patient, direction: Tensor, step: float) -> float:
    batch = patient.batch
    return patient.energy(replace(batch, positions=batch.positions + step * direction))


def strained(patient: Patient, strain: Tensor, step: float) -> float:
    return patient.energy(patient.batch.strained(step * strain.unsqueeze(0)))


def error(energy: Callable[[float], float], expected: float) -> float:
    """Of a derivative at zero, by the better of two five-point stencils: h⁴ E⁽⁵⁾ / 30 and rounding / h."""
    return float(np.min([abs(derivative(energy, step) - expected) for step in STEPS]))


def derivative(energy: Callable[[float], float], step: float) -> float:
    """Five-point stencil at zero."""
    near = energy(step) - energy(-step)
    far = energy(2 * step) - energy(-2 * step)
    return (8 * near - far) / (12 * step)


def largest(values: Sequence[float]) -> float:
    return float(np.abs(values).max())  # NaN if any is
