"""A molecule or a crystal with its charges, as recorded: from positions to energies and their slopes."""

from dataclasses import replace

import torch
from torch import Tensor

from cace_qeq.charged import Charged, Wishes, geometry_in
from cace_qeq.electrostatics import (
    Background,
    Circuit,
    Constraints,
    equilibrate_crystal,
    equilibrate_molecule,
    equilibrate_molecule_along_bonds,
)
from cace_qeq.lattice import LARGEST_DENSE
from cace_qeq.model import CACEQEq
from cace_qeq.nn.ace import Environments
from cace_qeq.prediction import Prediction, Slopes, assembled
from cace_qeq.structures import AtomicBatch


def has_plain_charges(model: CACEQEq) -> bool:
    """Whether energies are those of charges without shells, and those that the network reads from its features."""
    return model.charge_heads is not None and not (model.shell_walls or model.repulsion)


def is_alone(model: CACEQEq, batch: AtomicBatch) -> bool:
    """Whether a batch is one molecule, or one crystal in which charge flows freely; where charges come from a matrix,
    under their total and, of a molecule, at most a field."""
    imposed, n_periodic = batch.imposed, int(batch.pbc.numpy().sum())
    by_matrix = model.solver.method == "dense" or (model.solver.method == "auto" and batch.n_atoms <= LARGEST_DENSE)
    return (
        batch.n_structures == 1
        and (n_periodic == 0 or (n_periodic == 3 and model.wiring is None))
        and by_matrix
        and not (batch.ewald.mesh.any() or len(imposed.fragment_charge) or len(imposed.external.charge))
        and bool(imposed.potential.isnan().all())
        and not bool(batch.total_charge.isnan().any())
    )


@torch.enable_grad()
def predicted_alone(model: CACEQEq, batch: AtomicBatch, species: Tensor) -> tuple[Prediction, Tensor]:
    """What `predict` says where `is_alone`, and whether its charges have failed; no operation depends on values."""
    strain = torch.zeros_like(batch.cells).requires_grad_()
    where = batch.positions.detach().requires_grad_()
    deformation = torch.eye(3, dtype=where.dtype) + strain[0]
    moved = replace(batch, positions=where @ deformation, cells=batch.cells @ deformation)
    displacements = moved.displacements().to(model.dtype).transpose(1, 2).contiguous()
    around = Environments(displacements, batch.neighbors.index, None, model.representation.settings)
    features = model.representation(around, species)
    charged, failed = charged_alone(moved, model.wishes(moved, features, species), model.config.background)
    energies = model.energies(moved, around, features, charged, species)
    by_position, by_strain = torch.autograd.grad(energies.total.sum(), [where, strain])
    external = torch.zeros_like(batch.imposed.external.positions)
    return assembled(batch, energies, Slopes(by_position, by_strain, external)), failed


def charged_alone(batch: AtomicBatch, wishes: Wishes, background: Background) -> tuple[Charged, Tensor]:
    """As `equilibrium_of`, and whether the charges have failed."""
    geometry = geometry_in(batch, batch.cells, torch.zeros_like(batch.cells[:, 0]))
    imposed = -(batch.positions @ batch.imposed.field[0])
    felt = replace(wishes.parameters, electronegativity=wishes.parameters.electronegativity + imposed)
    constraints = Constraints(torch.ones_like(imposed).view(1, 1, -1), batch.total_charge.unsqueeze(1))
    circuit = None
    if wishes.wiring is not None:
        bonds, nowhere = wishes.wiring.bonds, torch.zeros_like(batch.structure)
        undriven = torch.zeros_like(bonds.softness)
        circuit = Circuit(bonds, constraints, nowhere.bool(), undriven, nowhere, wishes.wiring.preference)
        found, failed = equilibrate_molecule_along_bonds(batch.positions, felt, batch.total_charge, wishes.wiring)
    elif batch.periodic:
        found, failed = equilibrate_crystal(geometry, felt, batch.total_charge, background)
    else:
        found, failed = equilibrate_molecule(batch.positions, felt, batch.total_charge)
    return Charged(geometry, wishes, imposed, constraints, circuit, found), failed
