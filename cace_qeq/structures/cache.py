"""Neighbour lists kept while atoms move little."""

from dataclasses import replace

import numpy as np
import torch
from ase import Atoms

from cace_qeq.structures.batch import AtomicBatch, GeometrySettings
from cace_qeq.structures.convert import check_geometry, to_batch


class NeighborCache:
    """Batches of one moving structure: a list with a skin is used again until it may miss a pair.

    settings  of the model
    skin      Å, added to the cutoffs; the list is good until an atom has moved by half of it
    """

    def __init__(self, settings: GeometrySettings, skin: float = 0.5):
        self.settings = replace(settings, cutoff=settings.cutoff + skin)
        self.skin = skin
        self.atoms: Atoms | None = None
        self.stored: AtomicBatch | None = None

    def batch(self, atoms: Atoms, total_charge: float) -> AtomicBatch:
        """The structure as a batch.

        Raises ValueError as to_batch does.
        """
        if self.stored is None or not self.covers(atoms):
            self.stored = to_batch(atoms, self.settings, total_charge)
            self.atoms = atoms.copy()
            return self.stored
        check_geometry(atoms)
        return replace(
            self.stored,
            positions=torch.tensor(atoms.positions, dtype=torch.float64),
            total_charge=torch.tensor([total_charge], dtype=torch.float64),
        )

    def covers(self, atoms: Atoms) -> bool:
        """Whether the stored list still holds every pair within the model's cutoff."""
        kept = self.atoms
        if kept is None or len(kept) != len(atoms):
            return False
        same = (
            np.array_equal(kept.numbers, atoms.numbers)
            and np.array_equal(kept.pbc, atoms.pbc)
            and np.array_equal(np.asarray(kept.cell), np.asarray(atoms.cell))
            and np.array_equal(kept.get_masses(), atoms.get_masses())
        )
        moved = np.linalg.norm(atoms.positions - kept.positions, axis=1)
        return bool(same and moved.max() <= self.skin / 2)
