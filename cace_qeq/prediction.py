"""Energies, forces, stress, charges and dipoles of a batch, consistent with each other.

Forces and stress are derivatives of the one energy. Where it is not stationary in the charges, the solver's
implicit derivative supplies the adjoint term L.(dχ/dR + dA/dR q) to any order.   (theory, eqs. 14 to 16)
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cace_qeq.allocation import keep_freed_memory
from cace_qeq.model import CACEQEq, Energies, without_charges
from cace_qeq.structures.batch import AtomicBatch, expect_batch

Rows = NDArray[np.int64]
PairSlopes = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""displacements (atom, 3, slot), senders (atom, slot), species (atom,) -> (atom,) energies, (atom, 3, slot) slopes"""


@dataclass(frozen=True)
class Prediction:
    """What the model predicts for a batch; float64.

    energy                (structure,)       eV      short_range_energy + electrostatic_energy
    atom_energies         (atom,)            eV      sum to the energy
    forces                (atom, 3)          eV/Å
    stress                (structure, 3, 3)  eV/Å³   +dE/dstrain/V, NaN without a 3-D periodic cell
    surface_stress        (structure, 3, 3)  eV/Å²   +dE/dstrain/A in the plane of a slab, NaN for all else
    charges               (atom,)            e       NaN for a model without charges
    electronegativities   (atom,)            eV/e    likewise
    dipole                (structure, 3)     e Å     about the centre of mass; of a periodic cell of what flowed along
                                                     bonds from neutral atoms; NaN likewise, or if it flows freely
    short_range_energy    (structure,)       eV      reference energies included
    electrostatic_energy  (structure,)       eV
    external_forces       (external, 3)      eV/Å    on the external charges, by the atoms
    """

    energy: Tensor
    atom_energies: Tensor
    forces: Tensor
    stress: Tensor
    surface_stress: Tensor
    charges: Tensor
    electronegativities: Tensor
    dipole: Tensor
    short_range_energy: Tensor
    electrostatic_energy: Tensor
    external_forces: Tensor


PER_ATOM = ("atom_energies", "forces", "charges", "electronegativities")


def apart(prediction: Prediction, batch: AtomicBatch) -> list[Prediction]:
    """What is predicted for each structure of a batch."""
    n_structures = batch.n_structures
    of_atoms, of_external = (
        torch.bincount(owners, minlength=n_structures).tolist()
        for owners in (batch.structure, batch.imposed.external.structure)
    )
    lengths = dict.fromkeys(PER_ATOM, of_atoms) | {"external_forces": of_external}
    parts = [getattr(prediction, f.name).split(lengths.get(f.name, [1] * n_structures)) for f in fields(prediction)]
    return [Prediction(*values) for values in zip(*parts, strict=True)]


@dataclass(frozen=True)
class Slopes:
    """Derivatives of the energy.

    position  (atom, 3)          eV/Å
    strain    (structure, 3, 3)  eV
    external  (external, 3)      eV/Å
    """

    position: Tensor
    strain: Tensor
    external: Tensor


def predict(model: CACEQEq, batch: AtomicBatch) -> Prediction:
    """All properties of a batch, detached from the graph.

    Raises RuntimeError in torch.inference_mode, TypeError for a path and for anything but a batch, and ValueError as
    the model does.
    """
    if not isinstance(model, CACEQEq):
        given = model if isinstance(model, str | Path) else type(model).__name__
        raise TypeError(
            f"predict was given {given}, expected a CACEQEq: load_model(path) reads one, wrappers hold one as .module, "
            "and committees have predict_committee."
        )
    expect_batch(batch, "predict")
    if model.generated is not None and batch.positions.device.type == "cpu":
        answer: Prediction | None = model.generated(batch)
        if answer is not None:
            return answer
    energies, slopes = differentiated(model, batch, keep_graph=False)
    with torch.no_grad():
        values = Energies(**{f.name: getattr(energies, f.name).detach() for f in fields(energies)})
        return assembled(batch, values, slopes)


def predict_by_pairs(model: CACEQEq, batch: AtomicBatch, pair_slopes: PairSlopes) -> Prediction:
    """The same of a model that is a network alone, from its slopes by the displacements to neighbours.

    pair_slopes  what is differentiable in its values stays so
    """
    model.refuse_half_precision()
    model.refuse_batch_of_another(batch.geometry)
    return summed_over_pairs(model, batch, model.species(batch.numbers), pair_slopes)


def summed_over_pairs(model: CACEQEq, batch: AtomicBatch, species: Tensor, pair_slopes: PairSlopes) -> Prediction:
    """The same for a batch that suits the model, whose atoms are of these species; no operation depends on values."""
    scale, senders = model.energy_scale, batch.neighbors.index
    with torch.no_grad():
        vectors = batch.displacements()
    energies, by_displacement = pair_slopes(vectors.to(model.dtype).transpose(1, 2).contiguous(), senders, species)
    by_pair = scale * by_displacement.transpose(1, 2).double()
    position = (-by_pair.sum(1)).index_add(0, senders.flatten(), by_pair.flatten(0, 1))
    strain = torch.zeros_like(batch.cells)
    if batch.periodic:
        strain = strain.index_add(0, batch.structure, vectors.transpose(1, 2) @ by_pair)
    short_range = model.reference_energies.index_select(0, species) + scale * energies.double()
    slopes = Slopes(position, strain, torch.zeros_like(batch.imposed.external.positions))
    return assembled(batch, without_charges(batch, short_range), slopes)


def differentiable_predict(model: CACEQEq, batch: AtomicBatch) -> Prediction:
    """The same with the graph kept, for losses on forces and for response properties."""
    return assembled(batch, *differentiated(model, batch, keep_graph=True))


def differentiable_energies(model: CACEQEq, batch: AtomicBatch) -> Prediction:
    """The same without derivatives: forces and stress are NaN. A third of the time where no loss needs them."""
    energies, missing = model(batch), batch.positions.new_tensor(torch.nan)
    around = batch.imposed.external.positions
    slopes = (missing.expand_as(variable) for variable in (batch.positions, batch.cells, around))
    return assembled(batch, energies, Slopes(*slopes))


@torch.enable_grad()
def differentiated(model: CACEQEq, batch: AtomicBatch, keep_graph: bool) -> tuple[Energies, Slopes]:
    keep_freed_memory()
    batch.refuse_inference_mode()
    strain = torch.zeros_like(batch.cells, requires_grad=True)
    moved = batch.strained(strain) if batch.periodic else movable(batch)
    energies = model(moved)
    slopes = torch.autograd.grad(
        energies.short_range.sum() + energies.electrostatic.sum(),
        [moved.positions, strain, moved.imposed.external.positions],
        create_graph=keep_graph,
        allow_unused=True,  # without cells or external charges
        materialize_grads=True,
    )
    return energies, Slopes(*slopes)


def movable(batch: AtomicBatch) -> AtomicBatch:
    """With positions of atoms and external charges to differentiate by."""
    around = batch.imposed.external
    external = replace(around, positions=around.positions.clone().requires_grad_())
    imposed = replace(batch.imposed, external=external)
    return replace(batch, positions=batch.positions.clone().requires_grad_(), imposed=imposed)


def assembled(batch: AtomicBatch, energies: Energies, slopes: Slopes) -> Prediction:
    """Energies and their derivatives as properties."""
    short_range = energies.per_structure(energies.short_range)
    by_volume, by_area = stresses(batch, slopes.strain)
    return Prediction(
        energy=short_range + energies.electrostatic,
        atom_energies=energies.short_range + energies.atom_electrostatic,
        forces=-slopes.position,
        stress=by_volume,
        surface_stress=by_area,
        charges=energies.charges,
        electronegativities=energies.electronegativity,
        dipole=dipole(batch, energies),
        short_range_energy=short_range,
        electrostatic_energy=energies.electrostatic,
        external_forces=-slopes.external,
    )


def stresses(batch: AtomicBatch, by_strain: Tensor) -> tuple[Tensor, Tensor]:
    """Of crystals and of slabs, both (structure, 3, 3), symmetric."""
    missing, n_periodic = torch.full_like(by_strain, torch.nan), batch.pbc.cpu().numpy().sum(axis=1)
    crystals, slabs = np.flatnonzero(n_periodic == 3), np.flatnonzero(n_periodic == 2)
    return (
        replaced(missing, crystals, stress(batch, by_strain, crystals)) if len(crystals) else missing,
        replaced(missing, slabs, surface_stress(batch, by_strain, slabs)) if len(slabs) else missing,
    )


def replaced(values: Tensor, rows: Rows, new: Tensor) -> Tensor:
    return values.index_copy(0, torch.from_numpy(rows).to(values.device), new)


def stress(batch: AtomicBatch, by_strain: Tensor, crystals: Rows) -> Tensor:
    """dE/dstrain/V.  (crystal, 3, 3)"""
    first, second, third = batch.cells[crystals].unbind(1)
    volume = (torch.linalg.cross(first, second) * third).sum(1).abs()
    return symmetric(by_strain[crystals]) / volume.view(-1, 1, 1)


def surface_stress(batch: AtomicBatch, by_strain: Tensor, slabs: Rows) -> Tensor:
    """dE/dstrain/A in the plane, with nothing across it.  (slab, 3, 3)"""
    open_axis = batch.pbc.cpu().numpy()[slabs].argmin(axis=1)
    first, second = (batch.cells[slabs, (open_axis + step) % 3] for step in (1, 2))
    normal = torch.linalg.cross(first, second)
    area = normal.norm(dim=1).view(-1, 1, 1)
    across = normal.unsqueeze(2) * normal.unsqueeze(1) / area.square()
    plane = torch.eye(3, dtype=area.dtype, device=area.device) - across
    return plane @ symmetric(by_strain[slabs]) @ plane / area


def symmetric(matrices: Tensor) -> Tensor:
    return (matrices + matrices.transpose(1, 2)) / 2


def dipole(batch: AtomicBatch, energies: Energies) -> Tensor:
    """Σ q (r − centre of mass) of molecules, that of flows along bonds of all else.  (structure, 3)"""
    if batch.geometry.largest_width == 0:
        return torch.full_like(batch.cells[:, 0], torch.nan)
    total_mass = energies.per_structure(batch.masses)
    centre = energies.per_structure(batch.masses.unsqueeze(-1) * batch.positions) / total_mass.unsqueeze(-1)
    arms = batch.positions - centre[batch.structure]
    moments = energies.per_structure(energies.charges.unsqueeze(-1) * arms)
    return torch.where(batch.pbc.any(dim=1, keepdim=True), energies.moments, moments)
