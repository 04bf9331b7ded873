"""One structure as tensors, with its neighbours found anew or kept while atoms move little."""

from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray

from cace_qeq.lattice import plan_ewald
from cace_qeq.structures.batch import AtomicBatch, EwaldTerms, GeometrySettings, Neighbors, Pairs
from cace_qeq.structures.convert.frames import check_atoms, place
from cace_qeq.structures.neighbors import neighbor_pairs, padded_table

CLOSEST = 1e-3  # Å; nearer atoms are a mistake in the file


@dataclass(frozen=True)
class Tables:
    """The integers of a structure."""

    neighbors: Neighbors
    ewald: EwaldTerms


def to_batch(atoms: Atoms, settings: GeometrySettings, total_charge: float) -> AtomicBatch:
    """A structure as a batch of one.

    total_charge  e

    raises  ValueError naming the frame: what `check_atoms` refuses, two atoms at one place, periodicity in
            one or two directions for a model with charges
    """
    return assembled(atoms, total_charge, tables_of(atoms, settings, skin=0.0))


class NeighborCache:
    """Batches of a structure whose atoms move: tables are kept until they may miss a pair.

    settings  what the model needs
    skin      Å, by which the tables reach further; they are made anew when an atom has moved by more than
              half of it, or when anything but positions has changed
    """

    def __init__(self, settings: GeometrySettings, skin: float = 0.5):
        if not skin >= 0:
            raise ValueError(f"skin is {skin} Å, expected zero or more")
        self.settings = settings
        self.skin = skin
        self._origin: Origin | None = None
        self._tables: Tables | None = None

    def batch(self, atoms: Atoms, total_charge: float) -> AtomicBatch:
        """As `to_batch`, apart from neighbours beyond the cutoff."""
        if self._tables is None or self._origin is None or not self._origin.near(atoms, self.skin / 2):
            self._tables = tables_of(atoms, self.settings, self.skin)
            self._origin = Origin.of(atoms)
        return assembled(atoms, total_charge, self._tables)


@dataclass(frozen=True)
class Origin:
    """The state of a structure when its tables were made."""

    positions: NDArray[np.float64]
    numbers: NDArray[np.int64]
    cell: NDArray[np.float64]
    pbc: NDArray[np.bool_]

    @classmethod
    def of(cls, atoms: Atoms) -> "Origin":
        return cls(atoms.positions.copy(), atoms.numbers.copy(), atoms.cell.array.copy(), atoms.pbc.copy())

    def near(self, atoms: Atoms, distance: float) -> bool:
        """Whether no atom has moved further and all else is the same; not so for NaN."""
        same = (
            np.array_equal(self.numbers, atoms.numbers)
            and np.array_equal(self.cell, atoms.cell.array)
            and np.array_equal(self.pbc, atoms.pbc)
        )
        if not same:
            return False
        moved = atoms.positions - self.positions
        return bool(np.einsum("ax,ax->a", moved, moved).max() <= distance**2)


def tables_of(atoms: Atoms, settings: GeometrySettings, skin: float) -> Tables:
    """Neighbours and Ewald terms, both reaching further than needed by the skin."""
    check_atoms(atoms)
    pairs = pairs_of(atoms, settings.cutoff + skin)
    refuse_coincident(atoms, pairs)
    return Tables(padded_table(pairs, len(atoms)), ewald_terms(atoms, settings, skin))


def pairs_of(atoms: Atoms, cutoff: float) -> Pairs:
    return neighbor_pairs(atoms.positions, atoms.cell.array, atoms.pbc, cutoff)


def ewald_terms(atoms: Atoms, settings: GeometrySettings, skin: float) -> EwaldTerms:
    """Filled for a structure with charges that is periodic in all directions.

    raises  ValueError for charges and periodicity in one or two directions
    """
    if settings.largest_width == 0 or not atoms.pbc.any():
        return without_ewald()
    if not atoms.pbc.all():
        raise ValueError(
            f"{place(atoms)}: pbc is {atoms.pbc.tolist()}, expected all or none, since charges in slabs and "
            'wires are not supported yet; set pbc="T T T" with enough vacuum, or use energy="none".'
        )
    plan = plan_ewald(atoms.cell.array, len(atoms), settings.largest_width, settings.accuracy)
    pairs = pairs_of(atoms, plan.cutoff + skin)
    split = torch.tensor([plan.split], dtype=torch.float64)
    return EwaldTerms(pairs, torch.from_numpy(plan.triplets).unsqueeze(0), split)


def without_ewald() -> EwaldTerms:
    index, vectors = torch.zeros(0, dtype=torch.int64), torch.zeros(0, 3, dtype=torch.int64)
    return EwaldTerms(Pairs(index, index, vectors), vectors.unsqueeze(0), torch.ones(1, dtype=torch.float64))


def refuse_coincident(atoms: Atoms, pairs: Pairs) -> None:
    """Raise ValueError for two atoms, or an atom and an image, at one place."""
    center, neighbor, shift = pairs.center.numpy(), pairs.neighbor.numpy(), pairs.shift.numpy()
    displacement = atoms.positions[neighbor] - atoms.positions[center] + shift @ atoms.cell.array
    squared = np.einsum("px,px->p", displacement, displacement)
    if len(squared) and squared.min() < CLOSEST**2:
        pair = int(squared.argmin())
        raise ValueError(
            f"{place(atoms)}, atoms {center[pair]} and {neighbor[pair]}: less than {CLOSEST} Å apart, images "
            "included, expected a place of its own for each; remove duplicates, and check cell and units."
        )


def assembled(atoms: Atoms, total_charge: float, tables: Tables) -> AtomicBatch:
    """Tensors that share no memory with the atoms."""
    return AtomicBatch(
        positions=torch.tensor(atoms.positions, dtype=torch.float64),
        numbers=torch.tensor(atoms.numbers, dtype=torch.int64),
        masses=torch.tensor(atoms.get_masses(), dtype=torch.float64),
        structure=torch.zeros(len(atoms), dtype=torch.int64),
        cells=torch.tensor(atoms.cell.array * atoms.pbc[:, None], dtype=torch.float64).unsqueeze(0),
        pbc=torch.tensor(atoms.pbc, dtype=torch.bool).unsqueeze(0),
        total_charge=torch.tensor([total_charge], dtype=torch.float64),
        neighbors=tables.neighbors,
        ewald=tables.ewald,
    )
