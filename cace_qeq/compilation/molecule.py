"""A molecule with its charges, as recorded: from positions to energies and their slopes."""

from dataclasses import replace

import torch
from torch import Tensor

from cace_qeq.electrostatics import equilibrate_molecule
from cace_qeq.lattice import LARGEST_DENSE
from cace_qeq.model import CACEQEq, Energies
from cace_qeq.nn.ace import Environments
from cace_qeq.prediction import Prediction, Slopes, assembled
from cace_qeq.structures import AtomicBatch


def has_plain_charges(model: CACEQEq) -> bool:
    """Whether charges flow freely, and energies are theirs and those that the network reads from its features."""
    return model.charge_heads is not None and not (model.shell_walls or model.wiring or model.repulsion)


def is_lone_molecule(model: CACEQEq, batch: AtomicBatch) -> bool:
    """Whether a batch is one open structure, small enough for a matrix, with a total charge and at most a field."""
    imposed = batch.imposed
    return (
        batch.n_structures == 1
        and not batch.periodic
        and model.solver.method in ("auto", "dense")
        and batch.n_atoms <= LARGEST_DENSE
        and not (len(imposed.fragment_charge) or len(imposed.external.charge))
        and bool(imposed.potential.isnan().all())
        and not bool(batch.total_charge.isnan().any())
    )


@torch.enable_grad()
def predicted_molecule(model: CACEQEq, batch: AtomicBatch, species: Tensor) -> tuple[Prediction, Tensor]:
    """What `predict` says of `is_lone_molecule`, and whether its matrix has failed; no operation depends on values."""
    assert model.charge_heads is not None
    where = batch.positions.detach().requires_grad_()
    moved = replace(batch, positions=where)
    displacements = moved.displacements().to(model.dtype).transpose(1, 2).contiguous()
    around = Environments(displacements, batch.neighbors.index, None, model.representation.settings)
    features = model.representation(around, species)
    parameters = model.charge_heads(features, species)
    imposed = -(where @ batch.imposed.field[0])
    felt = replace(parameters, electronegativity=parameters.electronegativity + imposed)
    found = equilibrate_molecule(where, felt, batch.total_charge[0])
    charges = found.charges
    parts = charges * (imposed + found.potential / 2)
    electrostatic = torch.dot(imposed, charges) + found.coulomb
    if model.config.energy == "equilibrated":
        parts = parts + charges * (parameters.electronegativity + parameters.hardness * charges / 2)
        electrostatic = found.energy
    short_range = model.short_range(moved, model.feedback(around, features, charges, species), species)
    (slopes,) = torch.autograd.grad(short_range.sum() + electrostatic, where)
    nowhere = torch.full_like(batch.cells[:, 0], torch.nan)
    energies = Energies(
        short_range,
        electrostatic.view(1),
        parts,
        charges,
        parameters.electronegativity,
        nowhere,
        batch.structure,
    )
    external = torch.zeros_like(batch.imposed.external.positions)
    return assembled(batch, energies, Slopes(slopes, torch.zeros_like(batch.cells), external)), found.failed
