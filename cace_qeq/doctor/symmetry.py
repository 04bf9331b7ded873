"""Whether rotated, mirrored and reordered structures are the same to the model."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from cace_qeq.doctor.check import Check
from cace_qeq.doctor.patient import Patient
from cace_qeq.prediction import Prediction, predict
from cace_qeq.structures import AtomicBatch

LIMIT = 1e-8  # eV, eV/Å and e; rounding, in double precision


def symmetries(patient: Patient) -> list[Check]:
    turn = rotation()
    mirror = turn @ torch.diag(torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64)) @ turn.T
    order = np.random.default_rng(0).permutation(len(patient.atoms))
    permuted = patient.prediction_of(patient.atoms[order])
    here = torch.from_numpy(np.argsort(order))
    restored = replace(permuted, forces=permuted.forces[here], charges=permuted.charges[here])
    return [
        *compared(patient, "rotation", turned_back(patient, turn)),
        *compared(patient, "reflection", turned_back(patient, mirror)),
        *compared(patient, "permutation", restored),
    ]


def rotation() -> Tensor:
    """(3, 3)  about no axis in particular"""
    matrix = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    return torch.from_numpy(matrix * np.sign(np.linalg.det(matrix)))


def turned_back(patient: Patient, matrix: Tensor) -> Prediction:
    """Of the structure times an orthogonal matrix, with the forces as they were before."""
    found = predict(patient.model, turned(patient.batch, matrix))
    return replace(found, forces=found.forces @ matrix.T)


def turned(batch: AtomicBatch, matrix: Tensor) -> AtomicBatch:
    """With field and charges around."""
    around = replace(batch.imposed.external, positions=batch.imposed.external.positions @ matrix)
    imposed = replace(batch.imposed, field=batch.imposed.field @ matrix, external=around)
    return replace(batch, positions=batch.positions @ matrix, cells=batch.cells @ matrix, imposed=imposed)


def compared(patient: Patient, name: str, other: Prediction) -> list[Check]:
    here, limit = patient.prediction, LIMIT * patient.largest_force
    checks = [
        Check(f"{name}: energy", difference(here.energy, other.energy), LIMIT + patient.rounding, "eV"),
        Check(f"{name}: forces", difference(here.forces, other.forces), limit, "eV/Å"),
    ]
    if patient.has_charges:
        checks.append(Check(f"{name}: charges", difference(here.charges, other.charges), LIMIT, "e"))
    return checks


def difference(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max())
