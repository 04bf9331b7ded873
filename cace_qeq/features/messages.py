"""What neighbours' covariants bring: projected on the direction to them, and summed as they are.

Both are made block of atoms by block of atoms; nothing of size pair x component x channel is stored. They are gradients
of one form that is linear in each of three arguments,

    Φ(out, T, u) = Σ_anmc (Σ_k R_n u[b, m, c]) C[a, n, m, c] + Σ_akc (Σ_m Y_m u[b, m, c]) s[a, k, c],

with the neighbour b in slot k of atom a, so that all their derivatives are gradients of it again.
(explicit_forces, eq. X8)

out  (atom, radial · component + slot, channel)  C, then s
T    (atom, radial + component, slot)            radial functions R_n, then harmonic polynomials Y_m
u    (atom, component, channel)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import embedding

from cace_qeq.features.densities import Block, Occupied, assembled, blocks_of
from cace_qeq.features.explicit import Derivative, with_derivatives


def received(
    table: Tensor, covariants: Tensor, senders: Tensor, n_radial: int, occupied: Occupied
) -> tuple[Tensor, Tensor]:
    """Projected and summed covariants of the neighbours.

    table       (atom, radial + component, slot)  radial functions, zero in padding, and harmonic polynomials
    covariants  (atom, component, channel)        of every atom
    senders     (atom, slot)                      int64
    occupied    slots beyond count neither in sums nor get anything
    returns     (atom, slot, channel)             Σ_m Y_m u of the neighbour in the slot
                (atom, radial, component, channel)  Σ_k R_n u
    """
    blocks = blocks_of(senders.shape, occupied, 2 * covariants[0].numel() * covariants.element_size())
    out = gradient(Form(senders, len(covariants), n_radial, blocks), 0, table, covariants)
    summed, projected = out.split([n_radial * covariants.shape[1], senders.shape[1]], dim=1)
    return projected, summed.unflatten(1, (n_radial, -1))


@dataclass(frozen=True, eq=False)
class Form:
    """Φ for one table of neighbours, of all atoms or of some.

    n_atoms  that may be neighbours
    """

    senders: Tensor
    n_atoms: int
    n_radial: int
    blocks: tuple[Block, ...]

    def by_out(self, table: Tensor, covariants: Tensor) -> Tensor:
        n_summed = self.n_radial * covariants.shape[1]

        def part(block: Block) -> tuple[Tensor, Tensor]:
            radial, harmonic = self.functions(block, table)
            sent = self.gathered(block, covariants)
            summed = torch.bmm(radial, sent.flatten(2)).view(len(sent), n_summed, -1)
            projected = harmonic[0].unsqueeze(-1) * sent[:, :, 0]
            for function, component in zip(harmonic[1:], sent.unbind(2)[1:], strict=True):
                projected.addcmul_(function.unsqueeze(-1), component)
            return summed, projected

        return assembled(self.blocks, map(part, self.blocks), n_summed + self.senders.shape[1], axis=1)

    def by_table(self, out: Tensor, covariants: Tensor) -> Tensor:
        n_components = covariants.shape[1]

        def part(block: Block) -> tuple[Tensor, Tensor]:
            summed, projected = self.rows(block, out, n_components)
            sent = self.gathered(block, covariants)
            harmonic = torch.einsum("akmc,akc->amk", sent, projected)
            return torch.bmm(summed, sent.flatten(2).transpose(1, 2)), harmonic

        return assembled(self.blocks, map(part, self.blocks), self.senders.shape[1], axis=2)

    def by_covariants(self, out: Tensor, table: Tensor) -> Tensor:
        n_components = table.shape[1] - self.n_radial
        result = out.new_zeros(self.n_atoms, n_components * out.shape[2])
        for block in self.blocks:
            radial, harmonic = self.functions(block, table)
            summed, projected = self.rows(block, out, n_components)
            back = torch.bmm(radial.transpose(1, 2), summed).unflatten(2, (n_components, -1))
            for component, function in enumerate(harmonic):
                back[:, :, component].addcmul_(function.unsqueeze(-1), projected)
            senders = self.senders[block.start : block.stop, : block.width]
            result.index_add_(0, senders.flatten(), back.flatten(2).flatten(0, 1))
        return result.unflatten(1, (n_components, -1))

    def functions(self, block: Block, table: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Radial functions (row, radial, slot) and harmonic polynomials (row, slot) of a block."""
        radial, harmonic = block.of(table).tensor_split([self.n_radial], dim=1)
        return radial, harmonic.unbind(1)

    def rows(self, block: Block, out: Tensor, n_components: int) -> tuple[Tensor, Tensor]:
        """C, (row, radial, component · channel), and s, (row, slot, channel), of a block."""
        n_summed = self.n_radial * n_components
        summed, projected = out[block.start : block.stop, : n_summed + block.width].tensor_split([n_summed], dim=1)
        return summed.unflatten(1, (self.n_radial, -1)).flatten(2), projected

    def gathered(self, block: Block, covariants: Tensor) -> Tensor:
        """(row, slot, component, channel)"""
        senders = self.senders[block.start : block.stop, : block.width]
        return embedding(senders, covariants.flatten(1)).unflatten(2, covariants.shape[1:])


def gradient(form: Form, place: int, *others: Tensor) -> Tensor:
    """Gradient of Φ(out, T, u) by the argument at a place; its derivatives are the gradients by the others."""
    with torch.no_grad():
        value = (form.by_out, form.by_table, form.by_covariants)[place](*others)

    def pulled_back(other: int, change: Tensor) -> Tensor:
        arguments = dict(zip([p for p in range(3) if p != place], others, strict=True))
        arguments[place] = change
        return gradient(form, other, *(arguments[p] for p in range(3) if p != other))

    places = [p for p in range(3) if p != place]
    return with_derivatives(
        value, *(Derivative(tensor, partial(pulled_back, p)) for p, tensor in zip(places, others, strict=True))
    )
