"""Whether all ways to find charges find the same."""

import copy
from dataclasses import replace

from cace_qeq.doctor.check import Check
from cace_qeq.doctor.patient import Patient
from cace_qeq.doctor.symmetry import difference
from cace_qeq.electrostatics import Solver

# Limits of charges (e) and forces (eV/Å). Conjugate gradients stop at the tolerance; a mesh has an error of its own.
ITERATIVE = {
    "structure factors": (Solver("structure_factors", tolerance=1e-10), 1e-7, 1e-6),
    "mesh": (Solver("mesh", tolerance=1e-10, mesh_accuracy=1e-7), 1e-5, 1e-4),
    "mesh as by default": (Solver("mesh"), 1e-3, 1e-2),
}


def agreement(patient: Patient) -> list[Check]:
    """With the dense solution; nothing for a model without charges."""
    if not patient.has_charges:
        return []
    periodic = bool(patient.atoms.pbc.any())
    names = ITERATIVE if periodic else ["structure factors"]  # without a lattice both sum all pairs
    return [check for name in names for check in with_solver(patient, name if periodic else "all pairs", name)]


def with_solver(patient: Patient, title: str, name: str) -> list[Check]:
    solver, charge_limit, force_limit = ITERATIVE[name]
    model = copy.deepcopy(patient.model)
    model.solver = solver
    other, here = replace(patient, model=model).prediction, patient.prediction
    force_limit *= patient.largest_force
    return [
        Check(f"{title} against dense: charges", difference(here.charges, other.charges), charge_limit, "e"),
        Check(f"{title} against dense: forces", difference(here.forces, other.forces), force_limit, "eV/Å"),
    ]
