"""Several batches as one."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields

import torch
from torch import Tensor

from cace_qeq.conditions import collate_imposed
from cace_qeq.neighbors import Pairs
from cace_qeq.structures.batch import AtomicBatch, EwaldTerms, expect_batch
from cace_qeq.structures.labels import Labels
from cace_qeq.structures.table import Neighbors

EVALUATION_ATOMS = 500  # per batch; larger ones gain nothing on a processor


def filled(sizes: Sequence[int], batch_atoms: int) -> Iterator[tuple[int, int]]:
    """First and end of each batch of things of some atoms each, one after the other.

    Batches hold about `batch_atoms` atoms: as few as hold all atoms, evenly filled.
    """
    total = max(1, sum(sizes))
    n_batches = max(1, -(-total // batch_atoms))
    first, seen, current = 0, 0, 0
    for index, n_atoms in enumerate(sizes):
        batch = int((seen + n_atoms / 2) * n_batches / total)  # that holds the middle of this one
        if index > first and batch > current:
            yield first, index
            first = index
        current = batch
        seen += n_atoms
    if sizes:
        yield first, len(sizes)


def collate(batches: Iterable[AtomicBatch]) -> AtomicBatch:
    """Structures of all batches, in order; neighbour rows and k vectors padded to the longest.

    Raises ValueError for no batches, and for batches that were made for different models, TypeError for anything else.
    """
    batches = [batches] if isinstance(batches, AtomicBatch) else list(batches)
    for batch in batches:
        expect_batch(batch, "collate")
    if not batches:
        raise ValueError("cannot collate an empty list of batches; give at least one")
    geometry, *others = {b.geometry: None for b in batches}
    if others:
        raise ValueError(f"cannot collate batches made for different models, with {geometry} and with {others[0]}")
    sizes, device = [b.n_atoms for b in batches], batches[0].positions.device
    first_atom, first_structure = starts(sizes), starts([b.n_structures for b in batches])
    return AtomicBatch(
        positions=torch.cat([b.positions for b in batches]),
        numbers=torch.cat([b.numbers for b in batches]),
        masses=torch.cat([b.masses for b in batches]),
        structure=torch.cat([b.structure for b in batches]) + repeated(first_structure, sizes, device),
        cells=torch.cat([b.cells for b in batches]),
        pbc=torch.cat([b.pbc for b in batches]),
        total_charge=torch.cat([b.total_charge for b in batches]),
        start=torch.cat([b.start for b in batches]),
        imposed=collate_imposed([b.imposed for b in batches]),
        neighbors=collate_neighbors([b.neighbors for b in batches], first_atom),
        ewald=collate_ewald([b.ewald for b in batches], first_atom),
        geometry=geometry,
    )


def collate_labels(labels: Sequence[Labels]) -> Labels:
    """Labels of all batches, in order."""
    return Labels(*(torch.cat([getattr(part, f.name) for part in labels]) for f in fields(Labels)))


def collate_neighbors(tables: Sequence[Neighbors], first_atom: Sequence[int]) -> Neighbors:
    longest = max(table.index.shape[1] for table in tables)
    mask = torch.cat([widened(table.mask, longest) for table in tables])
    senders = torch.cat([widened(table.index, longest) for table in tables])
    senders += repeated(first_atom, [len(table.index) for table in tables], mask.device).unsqueeze(1)
    receivers = torch.arange(len(mask), device=mask.device).unsqueeze(1)
    return Neighbors(
        index=torch.where(mask, senders, receivers),
        shift=torch.cat([widened(table.shift, longest) for table in tables]),
        mask=mask,
    )


def widened(rows: Tensor, longest: int) -> Tensor:
    """(atom, slot, ...) with zeros appended to `longest` slots."""
    missing = longest - rows.shape[1]
    return rows if missing == 0 else torch.cat([rows, rows.new_zeros(len(rows), missing, *rows.shape[2:])], dim=1)


def collate_ewald(terms: Sequence[EwaldTerms], first_atom: Sequence[int]) -> EwaldTerms:
    pairs = [part.pairs for part in terms]
    first = repeated(first_atom, [len(p.center) for p in pairs], pairs[0].center.device)
    joined = Pairs(
        center=torch.cat([p.center for p in pairs]) + first,
        neighbor=torch.cat([p.neighbor for p in pairs]) + first,
        shift=torch.cat([p.shift for p in pairs]),
    )
    split = torch.cat([part.split for part in terms])
    height, mesh = (torch.cat([getattr(part, name) for part in terms]) for name in ("height", "mesh"))
    return EwaldTerms(joined, padded_triplets([part.triplets for part in terms]), split, height, mesh)


def repeated(values: Sequence[int], times: Sequence[int], device: torch.device) -> Tensor:
    """Each value as often as it says; one call is faster than one addition per structure."""
    return torch.repeat_interleave(torch.tensor(values), torch.tensor(times)).to(device)


def padded_triplets(triplets: Sequence[Tensor]) -> Tensor:
    """(structure, k, 3), rows of zeros where a structure has fewer."""
    longest = max(block.shape[1] for block in triplets)
    return torch.cat([widened(block, longest) for block in triplets])


def starts(sizes: Sequence[int]) -> list[int]:
    """Index of the first member of each group."""
    total, firsts = 0, []
    for size in sizes:
        firsts.append(total)
        total += size
    return firsts
