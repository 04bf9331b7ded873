"""Whether the energy of a crystal or a slab depends on how its Coulomb sum is done."""

from dataclasses import replace

import numpy as np

from cace_qeq.doctor.check import Check
from cace_qeq.doctor.patient import Patient
from cace_qeq.lattice import EwaldPlan, plan_ewald_with_split
from cace_qeq.planning import closed_cell
from cace_qeq.structures import AtomicBatch
from cace_qeq.structures.convert.tensors import ewald_plan, ewald_terms

FINER = 1e-4  # of the accuracy of the sums
SMALLEST_ACCURACY = 1e-15
SPLITS = (0.7, 0.85)  # of the planned η; a wider one might meet a slab's images
LIMIT = 1e-7  # eV/atom; a thousand times less than what anybody fits


def sums(patient: Patient) -> list[Check]:
    """Error of the sums as planned, and independence of η; nothing without lattice sums."""
    if not patient.has_charges or not patient.atoms.pbc.any():
        return []
    now = replanned(patient, 1.0)
    finer = patient.energy(with_plan(patient, replanned(patient, FINER)))
    splits = [patient.energy(with_plan(patient, with_split(patient, now, factor))) for factor in SPLITS]
    here, n_atoms = patient.energy(patient.batch), len(patient.atoms)
    limit = LIMIT + patient.rounding
    return [
        Check("Ewald error estimate", abs(finer - here) / n_atoms, limit, "eV/atom"),
        Check("independence of the Ewald split", max(abs(e - here) for e in splits) / n_atoms, limit, "eV/atom"),
    ]


def replanned(patient: Patient, finer: float) -> EwaldPlan:
    """As the batch has it, for an accuracy that much smaller."""
    asked = patient.model.frozen_geometry
    plan = ewald_plan(patient.sites, replace(asked, accuracy=max(finer * asked.accuracy, SMALLEST_ACCURACY)))
    assert plan is not None  # of a crystal or a slab
    return plan


def with_split(patient: Patient, plan: EwaldPlan, factor: float) -> EwaldPlan:
    """The same accuracy with η times the factor."""
    asked, atoms = patient.model.frozen_geometry, patient.atoms
    widest = float(np.max(patient.sites.widths, initial=asked.largest_width))
    cell = atoms.cell.array if atoms.pbc.all() else closed_cell(atoms.cell.array, atoms.pbc, plan.height)
    other = plan_ewald_with_split(cell, factor * plan.split, widest, asked.accuracy)
    return replace(other, height=plan.height)


def with_plan(patient: Patient, plan: EwaldPlan) -> AtomicBatch:
    terms, around = ewald_terms(patient.sites, plan, skin=0.0)
    imposed = patient.batch.imposed.with_pairs(around.center, around.neighbor, around.shift)
    return replace(patient.batch, ewald=terms, imposed=imposed)
