"""Batches of a structure whose atoms move: what stays true of it is kept."""

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from cace_qeq.lattice import EwaldPlan
from cace_qeq.slab import MARGIN, thickness_of
from cace_qeq.structures.batch import AtomicBatch, GeometrySettings
from cace_qeq.structures.convert.frames import check_atoms
from cace_qeq.structures.convert.tensors import Floats, Sites, Tables, assembled, ewald_plan, moved, tables_of

UNCHANGED = np.eye(3)  # deformation of a cell
LARGEST_STRETCH = 1.1  # of a cell that keeps its k vectors or mesh; costs two of ten digits of an Ewald sum


class NeighborCache:
    """Batches of a structure whose atoms move: tables are kept until they may miss a pair.

    settings  what the model needs
    skin      Å, by which the tables reach further; they are made anew when an atom has moved by more than
              half of it, earlier if the cell shrinks, and when anything else has changed

    k vectors or mesh are kept for much longer, until the cell has been stretched by 10 % or a slab has grown thicker by
    1 Å: an energy along a path has no steps but those of pairs that enter beyond the cutoff.
    """

    def __init__(self, settings: GeometrySettings, skin: float = 0.5):
        if not skin >= 0:
            raise ValueError(f"skin is {skin} Å, expected zero or more")
        self.settings = settings
        self.skin = skin
        self._kept: Kept | None = None
        self._plan: EwaldPlan | None = None
        self._plan_origin: Origin | None = None

    def batch(self, atoms: Atoms, total_charge: float) -> AtomicBatch:
        """As `to_batch`, apart from neighbours beyond the cutoff."""
        sites = Sites.of(atoms, self.settings, total_charge)
        if self._kept is None or not self._covers(self._kept, sites):
            check_atoms(atoms)
            plan, plan_origin, origin = self._plan, self._plan_origin, Origin.of(sites)
            if not self._plan_suits(sites):
                plan, plan_origin = ewald_plan(sites, self.settings, MARGIN + self.skin), origin
            tables = tables_of(sites, self.settings, plan, self.skin)
            kept = Kept(origin, tables, assembled(atoms, tables, self.settings))
            self._plan, self._plan_origin, self._kept = plan, plan_origin, kept  # at once: atoms may have been refused
        return moved(self._kept.batch, sites, self._kept.tables)

    def _plan_suits(self, sites: Sites) -> bool:
        """Whether k vectors or mesh are fine enough for this cell and no finer than they should be; a slab fits in."""
        if self._plan_origin is None or not self._stretched_little(sites):
            return False
        slab = self._plan is not None and self._plan.height > 0
        return not slab or sites.thickness <= self._plan_origin.thickness + MARGIN

    def _stretched_little(self, sites: Sites) -> bool:
        stretches = None if self._plan_origin is None else self._plan_origin.stretches(sites)
        return stretches is not None and bool(1 / LARGEST_STRETCH <= stretches[-1] <= stretches[0] <= LARGEST_STRETCH)

    def _covers(self, kept: "Kept", sites: Sites) -> bool:
        """Whether no pair has come within a cutoff that the tables do not hold.

        A cell that is deformed by F and atoms that moved by u beside that leave |d F + u_b - u_a| of a distance |d|.
        """
        deformation = kept.origin.deformation(sites)
        if deformation is None or not (self._plan is None or self._stretched_little(sites)):
            return False
        smallest_stretch = 1.0
        if deformation is not UNCHANGED:
            largest_stretch, _, smallest_stretch = np.linalg.svd(deformation, compute_uv=False)
            if largest_stretch > LARGEST_STRETCH:  # where rows of the tables have become longer than they need to be
                return False
        lost = kept.tables.cutoff * (1 - smallest_stretch) + 2 * kept.origin.largest_move(sites, deformation)
        return bool(lost <= self.skin * smallest_stretch)


@dataclass(frozen=True)
class Origin:
    """The state of a structure when its tables were made."""

    positions: NDArray[np.float64]
    numbers: NDArray[np.int64]
    masses: NDArray[np.float64]
    widths: NDArray[np.float64]
    cell: NDArray[np.float64]
    pbc: NDArray[np.bool_]

    @property
    def thickness(self) -> float:
        """Å, of a slab"""
        return thickness_of(self.cell, self.pbc, self.positions)

    @classmethod
    def of(cls, sites: Sites) -> "Origin":
        atoms, positions = sites.atoms, sites.positions.copy()
        cell, pbc = atoms.cell.array.copy(), atoms.pbc.copy()
        return cls(positions, atoms.numbers.copy(), atoms.get_masses(), sites.widths, cell, pbc)

    def deformation(self, sites: Sites) -> Floats | None:
        """(3, 3), by which the cell differs; None if more does. A slab's open vector counts for nothing."""
        atoms = sites.atoms
        kept = self.numbers, self.masses, self.pbc, self.widths
        here = atoms.numbers, atoms.get_masses(), atoms.pbc, sites.widths
        if not all(one.tobytes() == other.tobytes() for one, other in zip(kept, here, strict=True)):
            return None
        if self.cell.tobytes() == atoms.cell.array.tobytes():
            return UNCHANGED
        if self.pbc.sum() < 2 or not np.isfinite(atoms.cell.array).all():
            return None
        now = spanning(atoms.cell.array, self.pbc)
        if not np.isfinite(now).all():
            return None
        return np.linalg.solve(spanning(self.cell, self.pbc), now).astype(np.float64)

    def stretches(self, sites: Sites) -> Floats | None:
        """(3,) by which the cell is longer along its principal directions, largest first; None if more differs."""
        deformation = self.deformation(sites)
        if deformation is None:
            return None
        return np.linalg.svd(deformation, compute_uv=False).astype(np.float64)

    def largest_move(self, sites: Sites, deformation: Floats) -> float:
        """Å, of an atom or external charge beside the deformation; NaN if a position is"""
        before = self.positions if deformation is UNCHANGED else self.positions @ deformation
        moves = sites.positions - before
        return float(np.sqrt(np.einsum("ax,ax->a", moves, moves).max()))


@dataclass(frozen=True)
class Kept:
    """What serves until an atom has moved too far.

    origin  where it was made
    batch   as it was there; batches elsewhere share what does not change
    """

    origin: Origin
    tables: Tables
    batch: AtomicBatch


def spanning(cell: Floats, pbc: NDArray[np.bool_]) -> Floats:
    """(3, 3)  The vectors of a crystal; those of a slab and its unit normal, NaN where these are parallel."""
    if pbc.all():
        return cell
    normal = np.cross(*cell[pbc])
    length = np.linalg.norm(normal) or np.nan
    return np.vstack([cell[pbc], normal / length])
