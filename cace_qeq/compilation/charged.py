"""A molecule or a crystal with its charges, as recorded: from positions to energies and their slopes."""

from dataclasses import replace

import torch
from torch import Tensor

from cace_qeq.electrostatics import (
    Background,
    ChargeGeometry,
    ChargeParameters,
    Equilibrium,
    Wiring,
    equilibrate_crystal,
    equilibrate_molecule,
    equilibrate_molecule_along_bonds,
)
from cace_qeq.lattice import LARGEST_DENSE
from cace_qeq.model import CACEQEq, Energies
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
    """What `predict` says where `is_alone`, and whether the matrix has failed; no operation depends on values."""
    assert model.charge_heads is not None
    strain = torch.zeros_like(batch.cells).requires_grad_()
    where = batch.positions.detach().requires_grad_()
    deformation = torch.eye(3, dtype=where.dtype) + strain[0]
    moved = replace(batch, positions=where @ deformation, cells=batch.cells @ deformation)
    displacements = moved.displacements()
    to_neighbors = displacements.to(model.dtype).transpose(1, 2).contiguous()
    around = Environments(to_neighbors, batch.neighbors.index, None, model.representation.settings)
    features = model.representation(around, species)
    parameters = model.charge_heads(features, species)
    imposed = -(moved.positions @ batch.imposed.field[0])
    felt = replace(parameters, electronegativity=parameters.electronegativity + imposed)
    wiring = None if model.wiring is None else model.wiring(displacements, moved.neighbors.index, features, species)
    found, costs, failed = equilibrated(moved, felt, wiring, model.config.background)
    charges = found.charges
    parts = charges * (imposed + found.potential / 2)
    electrostatic = torch.dot(imposed, charges) + found.coulomb_energy
    if model.config.energy == "equilibrated":
        parts = parts + charges * (parameters.electronegativity + parameters.hardness * charges / 2) + costs
        electrostatic = found.energy
    short_range = model.short_range(moved, model.feedback(around, features, charges, species), species)
    by_position, by_strain = torch.autograd.grad(short_range.sum() + electrostatic.sum(), [where, strain])
    nowhere = torch.full_like(batch.cells[:, 0], torch.nan)
    chi = parameters.electronegativity
    energies = Energies(short_range, electrostatic, parts, charges, chi, nowhere, batch.structure)
    external = torch.zeros_like(batch.imposed.external.positions)
    return assembled(batch, energies, Slopes(by_position, by_strain, external)), failed


def equilibrated(
    batch: AtomicBatch, felt: ChargeParameters, wiring: Wiring | None, background: Background
) -> tuple[Equilibrium, Tensor, Tensor]:
    """Charges, (atom,) eV what flow along bonds costs, and whether they have failed."""
    if wiring is not None:
        return equilibrate_molecule_along_bonds(batch.positions, felt, batch.total_charge, wiring)
    nothing = torch.zeros_like(felt.width)
    if not batch.periodic:
        found, failed = equilibrate_molecule(batch.positions, felt, batch.total_charge)
        return found, nothing, failed
    ewald = batch.ewald
    geometry = ChargeGeometry(
        positions=batch.positions,
        cells=batch.cells,
        periodic=batch.pbc.any(dim=1),
        normal=torch.zeros_like(batch.cells[:, 0]),
        structure=batch.structure,
        center=ewald.pairs.center,
        neighbor=ewald.pairs.neighbor,
        shift=ewald.pairs.shift_components,
        triplets=ewald.triplets,
        split=ewald.split,
        mesh=ewald.mesh,
    )
    found, failed = equilibrate_crystal(geometry, felt, batch.total_charge, background)
    return found, nothing, failed
