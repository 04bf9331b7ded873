"""The potential that is imposed on charges: fields, electrodes, charges around.   (boundaries, eq. B4)"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from cace_qeq.conditions import ExternalCharges, Imposed
from cace_qeq.electrostatics.coulomb_forms import lattice_forms
from cace_qeq.electrostatics.forms import Sum
from cace_qeq.electrostatics.geometry import ChargeGeometry
from cace_qeq.electrostatics.kernels import Background, gaussian_coulomb


def imposed_potential(
    geometry: ChargeGeometry, width: Tensor, imposed: Imposed, background: Background = "point"
) -> Tensor:
    """What a charge on each atom costs beside its electronegativity: -r.F - μ, and external charges' potential.

    width    (atom,)  Å, σ
    returns  (atom,)  eV/e
    """
    along_field = (geometry.positions * imposed.field[geometry.structure]).sum(-1)
    electrode = torch.where(imposed.potential.isnan(), 0.0, imposed.potential)
    potential = -along_field - electrode
    external = imposed.external
    if not len(external.charge):
        return potential
    potential = potential + potential_in_the_open(geometry, width, external)
    for structure in external.structure[geometry.periodic[external.structure]].unique():
        atoms, found = potential_in_a_lattice(geometry, width, external, structure, background)
        potential = potential.index_add(0, atoms, found)
    return potential


def along_lattice(geometry: ChargeGeometry, vectors: Tensor) -> Tensor:
    """(structure, 3)  the part along periodic directions; nothing of it in open structures"""
    normal = geometry.normal.detach()  # zero in crystals
    across = (vectors * normal).sum(1, keepdim=True) * normal
    return (vectors - across) * geometry.periodic.unsqueeze(1)


def potential_in_the_open(geometry: ChargeGeometry, width: Tensor, external: ExternalCharges) -> Tensor:
    """(atom,)  eV/e, zero in slabs and crystals"""
    charges = (~geometry.periodic[external.structure]).nonzero().flatten()
    atom, place = (geometry.structure.unsqueeze(1) == external.structure[charges]).nonzero().unbind(1)
    charge = charges[place]
    squared_distance = (external.positions[charge] - geometry.positions[atom]).square().sum(-1)
    pairs = gaussian_coulomb(squared_distance, width[atom].square() + external.width[charge].square())
    return torch.zeros_like(width).index_add(0, atom, external.charge[charge] * pairs)


def potential_in_a_lattice(
    geometry: ChargeGeometry, width: Tensor, external: ExternalCharges, structure: Tensor, background: Background
) -> tuple[Tensor, Tensor]:
    """Of external charges and all their images, with their background, by the sums that serve the atoms.

    structure  ()  int64, a crystal or a slab
    returns    (atom of it,)  int64, the atoms, and eV/e
    """
    atoms = (geometry.structure == structure).nonzero().flatten()
    charges = (external.structure == structure).nonzero().flatten()
    sites, n_atoms = with_charges_as_sites(geometry, external, structure), len(atoms)
    form = Sum(lattice_forms(sites, torch.cat([width[atoms], external.width[charges]]), background))
    given = torch.cat([torch.zeros_like(width[atoms]), external.charge[charges]])
    return atoms, _Product.apply(form, given, *form.parameters)[:n_atoms]


def with_charges_as_sites(geometry: ChargeGeometry, external: ExternalCharges, structure: Tensor) -> ChargeGeometry:
    """One structure, its atoms followed by the charges around, with the pairs of both."""
    atoms = (geometry.structure == structure).nonzero().flatten()
    charges = (external.structure == structure).nonzero().flatten()
    pairs = (geometry.structure[external.center] == structure).nonzero().flatten()
    positions = torch.cat([geometry.positions[atoms], external.positions[charges]])
    return replace(
        geometry.of(structure.view(1), atoms),
        positions=positions,
        structure=torch.zeros(len(positions), dtype=torch.int64, device=positions.device),
        center=external.center[pairs] - atoms[0],
        neighbor=external.neighbor[pairs] - charges[0] + len(atoms),
        shift=external.shift[pairs].T.to(positions.dtype, memory_format=torch.contiguous_format),
    )


class _Product(torch.autograd.Function):
    """A x of a form, with derivatives of any order in x and in all that A depends on."""

    @staticmethod
    def forward(ctx: Any, form: Sum, charges: Tensor, *parameters: Tensor) -> Tensor:
        ctx.form = form
        ctx.save_for_backward(charges)
        return form.product(charges)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        form, (charges,), (gradient,) = ctx.form, ctx.saved_tensors, gradients
        by_charges = _Product.apply(form, gradient, *form.parameters) if ctx.needs_input_grad[1] else None
        return None, by_charges, *form.gradients(gradient, charges)
