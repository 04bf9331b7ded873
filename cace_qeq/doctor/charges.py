"""Whether charges solve their equations, and how well these are posed."""

import torch
from torch import Tensor

from cace_qeq.charged import Charged
from cace_qeq.doctor.check import Check
from cace_qeq.doctor.patient import Patient
from cace_qeq.electrostatics import coulomb_matrix
from cace_qeq.electrostatics.bonds import bond_equations

RESIDUAL = 1e-8  # eV/e, or e; a direct solution leaves rounding
CHARGE_SUM = 1e-9  # e
CONDITION = 1e6  # ten of sixteen digits remain


@torch.no_grad()
def equations(patient: Patient) -> list[Check]:
    """Residual, constraints and condition number; nothing for a model without charges."""
    if not patient.has_charges:
        return []
    charged = charges_of(patient)
    matrix = coulomb_matrix(charged.geometry, charged.wishes.parameters.width, patient.model.config.background)[0]
    in_bonds = charged.circuit is not None
    return [
        Check("residual of the charge equations", residual(charged, matrix), RESIDUAL, "e" if in_bonds else "eV/e"),
        Check("charge sum, all constraints", broken_constraint(charged), CHARGE_SUM, "e"),
        Check("condition number of the charge equations", condition(charged, matrix), CONDITION, ""),
    ]


def charges_of(patient: Patient) -> Charged:
    model, batch = patient.model, patient.batch
    species = model.species(batch.numbers)
    return model.charged(batch, model.representation(model.environments(batch), species), species)


def residual(charged: Charged, matrix: Tensor) -> float:
    """Largest part of χ + v + K q that no multiplier takes away; that of the equations of bonds where there are any.

    matrix  (atom, atom)  eV/e², A, apart from the solution's own A q, which the equation itself may have given
    """
    charges, wishes, constraints = charged.equilibrium.charges, charged.wishes, charged.constraints
    own = wishes.parameters.electronegativity + charged.imposed + wishes.parameters.hardness * charges
    slope = own + matrix @ charges
    if wishes.walls is not None:
        slope = slope + wishes.walls.slope(charges)
    if charged.circuit is None:
        return float(constraints.balanced(slope.unsqueeze(0)).abs().max())
    equations, multiplier = bond_equations(charged.geometry, charged.circuit), charged.equilibrium.multipliers[:, 0]
    return float(equations.residual(charges.unsqueeze(0), slope.unsqueeze(0), multiplier).abs().max())


def broken_constraint(charged: Charged) -> float:
    """e, largest element of C q - b"""
    found = charged.constraints.rows[0] @ charged.equilibrium.charges
    return float((found - charged.constraints.values[0]).abs().max())


def condition(charged: Charged, matrix: Tensor) -> float:
    """Of K on charges with C q = 0, infinite unless positive there; of the equations of bonds where there are any."""
    wishes = charged.wishes
    hardness = wishes.parameters.hardness
    if wishes.walls is not None:
        hardness = hardness + wishes.walls.curvature(charged.equilibrium.charges)
    stiffness = matrix + torch.diag(hardness)
    if charged.circuit is not None:
        equations = bond_equations(charged.geometry, charged.circuit)
        return float(torch.linalg.cond(equations.system(stiffness.unsqueeze(0))[0]))
    rows = charged.constraints.rows[0, charged.constraints.active[0]]
    allowed = torch.linalg.qr(rows.T, mode="complete").Q[:, len(rows) :]
    if not allowed.shape[1]:
        return 1.0
    values = torch.linalg.eigvalsh(allowed.T @ stiffness @ allowed)
    return float(values[-1] / values[0]) if values[0] > 0 else float("inf")
