"""Densities of the neighbours' channels in the functions of a pair, summed without storing their products.

A table of pair functions, (atom, radial + monomial, slot), holds the radial functions R_n of every pair and then the
monomials M_m. The density ρ[a, m, n, z] = Σ_k M_m R_n h[a, k, z] is linear in each of h, R and M, so that its
derivatives of every order are densities again, of other tables: three functions, each the others' derivative.
(explicit_forces, eqs. X2 to X4)

Products are made block of atoms by block of atoms, and made again for every derivative: they stay near the cache, and
memory holds nothing of size pair x radial x monomial.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import embedding

from cace_qeq.allocation import in_whole_lines
from cace_qeq.features.contractions import Term, contraction
from cace_qeq.features.explicit import Derivative, with_derivatives

BLOCK_BYTES = 2**21
"""Products of pair functions held at once on a CPU. Measured flat from 1 to 3 MB."""


Occupied = Tensor | None
"""Slots of each row of a table up to the last that is occupied, (atom,); None if all are read alike."""


@dataclass(frozen=True)
class Block:
    """Rows [start, stop) of a table of neighbours, of which the first `width` slots hold all that are occupied."""

    start: int
    stop: int
    width: int

    def of(self, table: Tensor) -> Tensor:
        """(row, component, slot) of the block."""
        return table[self.start : self.stop, :, : self.width]

    def channels(self, arriving: Tensor) -> Tensor:
        """(row, slot, z) of what arrives, (atom, slot, z)."""
        return arriving[self.start : self.stop, : self.width]

    def rows(self, density: Tensor) -> Tensor:
        """(row, monomial · radial, z) of a density."""
        return density[self.start : self.stop].flatten(1, 2)


@dataclass(frozen=True)
class Layout:
    """How a table of pair functions is read.

    n_radial  its first functions are radial, the others monomials
    blocks    rows that are treated together; slots beyond a block's width hold radial functions that vanish with all
              derivatives, and get no gradients
    """

    n_radial: int
    blocks: tuple[Block, ...]

    def terms(self, block: Block, tables: tuple[Tensor, ...]) -> list[Term]:
        """Radial functions and monomials of a block: of one table R_n M_m, of two R_n M'_m + R'_n M_m."""
        parts = [block.of(table).tensor_split([self.n_radial], dim=1) for table in tables]
        return [(radial, monomials) for (radial, _), (_, monomials) in zip(parts, reversed(parts), strict=True)]


def last_slots(within: Tensor) -> Occupied:
    """How many slots of each row there are up to the last that is occupied; None on a GPU, which would have to wait.

    within  (atom, slot)  bool, whether the pair is closer than the cutoff
    """
    if within.device.type != "cpu":
        return None
    numbers = torch.arange(1, within.shape[1] + 1, dtype=torch.int16)
    return (within * numbers).amax(1) if within.shape[1] else numbers.new_zeros(len(within))


def blocks_of(shape: Sequence[int], occupied: Occupied, bytes_per_slot: int) -> tuple[Block, ...]:
    """As many rows in a block as fit into the cache with what is made of them; all rows if nothing is known of them.

    Widths end with lines of the cache, if that is near.

    shape  (atom, slot), of the table
    """
    n_atoms, n_slots = shape
    rows = max(1, BLOCK_BYTES // max(1, n_slots * bytes_per_slot))
    if occupied is None or rows >= n_atoms:
        return (Block(0, n_atoms, n_slots),)
    starts = range(0, n_atoms, rows)
    widths = [min(n_slots, in_whole_lines(int(occupied[n : n + rows].max()))) for n in starts]
    return tuple(Block(n, min(n + rows, n_atoms), width) for n, width in zip(starts, widths, strict=True))


def gathered(channels: Tensor, senders: Tensor) -> Tensor:
    """What each neighbour brings.

    channels  (atom, z)
    senders   (atom, slot)  int64
    returns   (atom, slot, z)
    """
    with torch.no_grad():
        value = embedding(senders, channels)  # measured three times as fast as index_select
    return with_derivatives(value, Derivative(channels, lambda gradient: scattered(gradient, senders, len(channels))))


def scattered(arriving: Tensor, senders: Tensor, n_atoms: int) -> Tensor:
    """Sum of what each atom sent, (atom, slot, z) -> (atom, z)."""
    with torch.no_grad():
        value = arriving.new_zeros(n_atoms, arriving.shape[2]).index_add_(0, senders.flatten(), arriving.flatten(0, 1))
    return with_derivatives(value, Derivative(arriving, lambda gradient: gathered(gradient, senders)))


def density(arriving: Tensor, layout: Layout, *tables: Tensor) -> Tensor:
    """Sums over neighbours of their channels times products of pair functions.

    arriving  (atom, slot, z)                what each neighbour brings
    tables    (atom, radial + monomial, slot)  one: products R_n M_m; two: R_n M'_m + R'_n M_m
    returns   (atom, monomial, radial, z)
    """
    with torch.no_grad():
        value = _density(arriving, layout, tables)
    return with_derivatives(
        value,
        Derivative(arriving, lambda gradient: sender_gradient(gradient, layout, *tables)),
        *by_tables(tables, lambda other, gradient: table_gradient(gradient, arriving, layout, other)),
    )


def sender_gradient(gradient: Tensor, layout: Layout, *tables: Tensor) -> Tensor:
    """Gradient of `density` by what arrives.

    gradient  (atom, monomial, radial, z)  of the density
    returns   (atom, slot, z)
    """
    with torch.no_grad():
        value = _sender_gradient(gradient, layout, tables)
    return with_derivatives(
        value,
        Derivative(gradient, lambda change: density(change, layout, *tables)),
        *by_tables(tables, lambda other, change: table_gradient(gradient, change, layout, other)),
    )


def table_gradient(gradient: Tensor, arriving: Tensor, layout: Layout, table: Tensor) -> Tensor:
    """Gradient of `density` by one of two tables, of which `table` is the other; by the only one if it is that.

    returns  (atom, radial + monomial, slot)
    """
    with torch.no_grad():
        value = _table_gradient(gradient, arriving, layout, table)
    return with_derivatives(
        value,
        Derivative(gradient, lambda change: density(arriving, layout, table, change)),
        Derivative(arriving, lambda change: sender_gradient(gradient, layout, table, change)),
        Derivative(table, lambda change: table_gradient(gradient, arriving, layout, change)),
    )


def by_tables(tables: tuple[Tensor, ...], pullback: Callable[[Tensor, Tensor], Tensor]) -> tuple[Derivative, ...]:
    """What a gradient means for each table: it takes the other one, or itself if it is the only one."""
    pairs = zip(tables, reversed(tables), strict=True)
    return tuple(Derivative(table, partial(pullback, other)) for table, other in pairs)


def _density(arriving: Tensor, layout: Layout, tables: tuple[Tensor, ...]) -> Tensor:
    n_monomials = tables[0].shape[1] - layout.n_radial
    contract = contraction(arriving.shape[2], n_monomials)
    result = arriving.new_empty(len(arriving), n_monomials, layout.n_radial, arriving.shape[2])
    for block in layout.blocks:
        contract.density(block.rows(result), block.channels(arriving), layout.terms(block, tables))
    return result


def _sender_gradient(gradient: Tensor, layout: Layout, tables: tuple[Tensor, ...]) -> Tensor:
    contract = contraction(gradient.shape[3], gradient.shape[1])
    parts = ((contract.by_channels(block.rows(gradient), layout.terms(block, tables)),) for block in layout.blocks)
    return assembled(layout.blocks, parts, tables[0].shape[2], axis=1)


def _table_gradient(gradient: Tensor, arriving: Tensor, layout: Layout, table: Tensor) -> Tensor:
    contract = contraction(gradient.shape[3], gradient.shape[1])

    def part(block: Block) -> Term:
        (term,) = layout.terms(block, (table,))
        return contract.by_functions(block.rows(gradient), block.channels(arriving), term)

    return assembled(layout.blocks, map(part, layout.blocks), table.shape[2], axis=2)


def assembled(blocks: tuple[Block, ...], parts: Iterable[Sequence[Tensor]], size: int, axis: int) -> Tensor:
    """Blocks of rows as one array, with zeros beyond the end of each in the axis of slots.

    parts  of each block, what follows each other in its second axis
    size   of the axis of slots
    """
    result = None
    for block, pieces in zip(blocks, parts, strict=True):
        shapes = [piece.shape for piece in pieces]
        together = [len(pieces[0]), sum(shape[1] for shape in shapes), *shapes[0][2:]]
        occupied = together[axis]
        if len(blocks) == 1 and occupied == size:
            return torch.cat(list(pieces), dim=1) if len(pieces) > 1 else pieces[0]
        if result is None:
            together[0], together[axis] = blocks[-1].stop, size
            result = pieces[0].new_empty(together)
        start = 0
        for piece in pieces:
            rows = result[block.start : block.stop].narrow(axis, 0, occupied)
            rows.narrow(1, start, piece.shape[1]).copy_(piece)
            start += piece.shape[1]
        result[block.start : block.stop].narrow(axis, occupied, size - occupied).zero_()
    assert result is not None
    return result
