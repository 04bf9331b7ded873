"""Several batches as one."""

from collections.abc import Sequence
from dataclasses import fields

import torch
from torch import Tensor

from cace_qeq.structures.batch import AtomicBatch, EwaldTerms, Neighbors, Pairs
from cace_qeq.structures.labels import Labels


def collate(batches: Sequence[AtomicBatch]) -> AtomicBatch:
    """Structures of all batches, in order; neighbour rows and k vectors padded to the longest."""
    if not batches:
        raise ValueError("cannot collate an empty list of batches; give at least one")
    first_atom = starts([b.n_atoms for b in batches])
    first_structure = starts([b.n_structures for b in batches])
    return AtomicBatch(
        positions=torch.cat([b.positions for b in batches]),
        numbers=torch.cat([b.numbers for b in batches]),
        masses=torch.cat([b.masses for b in batches]),
        structure=torch.cat([b.structure + first for b, first in zip(batches, first_structure, strict=True)]),
        cells=torch.cat([b.cells for b in batches]),
        pbc=torch.cat([b.pbc for b in batches]),
        total_charge=torch.cat([b.total_charge for b in batches]),
        neighbors=collate_neighbors([b.neighbors for b in batches], first_atom),
        ewald=collate_ewald([b.ewald for b in batches], first_atom),
    )


def collate_labels(labels: Sequence[Labels]) -> Labels:
    """Labels of all batches, in order."""
    return Labels(*(torch.cat([getattr(part, f.name) for part in labels]) for f in fields(Labels)))


def collate_neighbors(tables: Sequence[Neighbors], first_atom: Sequence[int]) -> Neighbors:
    n_atoms, longest = sum(len(t.index) for t in tables), max(t.index.shape[1] for t in tables)
    index = torch.arange(n_atoms).unsqueeze(1).repeat(1, longest)
    shift = torch.zeros(n_atoms, longest, 3, dtype=torch.int64)
    mask = torch.zeros(n_atoms, longest, dtype=torch.bool)
    for table, first in zip(tables, first_atom, strict=True):
        rows, columns = table.index.shape
        block = (slice(first, first + rows), slice(columns))
        index[block] = table.index + first
        shift[block] = table.shift
        mask[block] = table.mask
    return Neighbors(index, shift, mask)


def collate_ewald(terms: Sequence[EwaldTerms], first_atom: Sequence[int]) -> EwaldTerms:
    pairs = [part.pairs for part in terms]
    joined = Pairs(
        center=torch.cat([p.center + first for p, first in zip(pairs, first_atom, strict=True)]),
        neighbor=torch.cat([p.neighbor + first for p, first in zip(pairs, first_atom, strict=True)]),
        shift=torch.cat([p.shift for p in pairs]),
    )
    split = torch.cat([part.split for part in terms])
    return EwaldTerms(joined, padded_triplets([part.triplets for part in terms]), split)


def padded_triplets(triplets: Sequence[Tensor]) -> Tensor:
    """(structure, k, 3), rows of zeros where a structure has fewer."""
    longest = max(block.shape[1] for block in triplets)
    padded = torch.zeros(sum(len(block) for block in triplets), longest, 3, dtype=torch.int64)
    for block, first in zip(triplets, starts([len(block) for block in triplets]), strict=True):
        padded[first : first + len(block), : block.shape[1]] = block
    return padded


def starts(sizes: Sequence[int]) -> list[int]:
    """Index of the first member of each group."""
    total, firsts = 0, []
    for size in sizes:
        firsts.append(total)
        total += size
    return firsts
