"""How a structure answers fields, charges from outside, and moves of its atoms."""

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from cace_qeq.electrostatics.response import (
    Driven,
    born_charges,
    fukui_and_hardness,
    polarizability,
    whole_born_charges,
)
from cace_qeq.model import CACEQEq
from cace_qeq.structures.batch import AtomicBatch, expect_batch


@dataclass(frozen=True)
class Response:
    """Response of the charges of a batch at fixed atoms, and of its dipole to moves of the atoms; float64.

    Charges alone respond; what is not in them (induced dipoles of atoms) is not here. Times 14.3996, e²Å²/eV are Å³.

    dipole          (structure, 3)     e Å      Σ q r, of a charged structure about the origin; of cells what flowed
    polarizability  (structure, 3, 3)  e²Å²/eV  dμ/dF
    fukui           (atom,)                     dq/dQ, adding up to one; NaN where the total charge is not a constraint
    hardness        (structure,)       eV/e²    d²E_qeq/dQ²; NaN likewise
    born_charges    (atom, 3, 3)       e        Z*[a, x, y] = dμ_y/dr_ax, charge flow included

    Dipole, polarizability and Born charges are those along open directions: zero in the plane of a slab, NaN for
    a crystal. Where charge flows along bonds they are those of the cell, without a macroscopic field along periodic
    directions, for neutral structures without electrodes and charged fragments.
    """

    dipole: Tensor
    polarizability: Tensor
    fukui: Tensor
    hardness: Tensor
    born_charges: Tensor


@torch.enable_grad()
def predict_response(model: CACEQEq, batch: AtomicBatch) -> Response:
    """All responses of a batch, from the one factorisation (or the products) that gives the charges.

    Raises RuntimeError in torch.inference_mode, ValueError for a committee and a model without charges.
    """
    driven, positions = driven_charges(model, batch)
    fukui, hardness = fukui_and_hardness(driven)
    found = Response(
        dipole=driven.dipoles,
        polarizability=polarizability(driven),
        fukui=fukui,
        hardness=hardness,
        born_charges=born_charges(driven, positions),
    )
    return Response(**{f.name: getattr(found, f.name).detach() for f in fields(found)})


@torch.enable_grad()
def predict_born_charges(model: CACEQEq, batch: AtomicBatch) -> Tensor:
    """(atom, 3, 3)  e, Born charges alone, NaN where a component of the dipole is missing.

    Raises as `predict_response` does.
    """
    return whole_born_charges(*driven_charges(model, batch), keep_graph=False).detach()


@torch.enable_grad()
def differentiable_born_charges(model: CACEQEq, batch: AtomicBatch) -> Tensor:
    """The same with the graph kept, for losses."""
    return whole_born_charges(*driven_charges(model, batch), keep_graph=True)


def driven_charges(model: CACEQEq, batch: AtomicBatch) -> tuple[Driven, Tensor]:
    """Charges with the graph from what drives them, and the positions."""
    if not isinstance(model, CACEQEq):
        raise ValueError(f"expected a model, got a {type(model).__name__}; ask its members one by one (`.members`)")
    expect_batch(batch, "a response")
    batch.refuse_inference_mode()
    if model.charge_heads is None:
        raise ValueError('the model has no charges (energy="none"), so nothing responds; expected one with charges')
    positions = batch.positions.detach().clone().requires_grad_()
    total_charge = batch.total_charge.detach().clone().requires_grad_()
    field = batch.imposed.field.detach().clone().requires_grad_()
    moved = replace(batch, positions=positions, total_charge=total_charge, imposed=replace(batch.imposed, field=field))
    species = model.species(batch.numbers)
    network = getattr(model.representation, "representation", model.representation)  # code has one backward, not three
    charged = model.charged(moved, network(model.environments(moved), species), species)
    driven = Driven(
        charged.geometry,
        charged.constraints,
        charged.equilibrium,
        charged.moments,
        charged.wishes.parameters.electronegativity,
        total_charge,
        field,
    )
    return driven, positions
