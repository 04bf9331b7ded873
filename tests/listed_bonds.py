"""Bonds that a batch lists, as sets to compare."""

import torch

from brute_force import Bond
from cace_qeq.structures import AtomicBatch


def environment_bonds(batch: AtomicBatch) -> set[Bond]:
    table = batch.neighbors
    receiver = torch.arange(batch.n_atoms).unsqueeze(1).expand_as(table.index)
    columns = [receiver[table.mask], table.index[table.mask], table.shift[table.mask]]
    return {tuple(bond) for bond in torch.column_stack(columns).tolist()}


def ewald_bonds(batch: AtomicBatch) -> set[Bond]:
    """In both directions, though the list holds one."""
    pairs = batch.ewald.pairs
    ahead = torch.column_stack([pairs.center, pairs.neighbor, pairs.shift]).tolist()
    back = torch.column_stack([pairs.neighbor, pairs.center, -pairs.shift]).tolist()
    assert len(bonds := {tuple(bond) for bond in ahead + back}) == 2 * len(ahead)
    return bonds
