"""One structure as tensors, with its neighbours found anew or kept while atoms move little."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray

from cace_qeq.conditions import Imposed, nothing_imposed, split_pairs
from cace_qeq.impose import Boundary
from cace_qeq.lattice import NO_MESH, EwaldPlan
from cace_qeq.neighbors import Pairs, neighbor_pairs, pairs_once
from cace_qeq.planning import SumSettings, plan_sums
from cace_qeq.slab import MARGIN, thickness_of
from cace_qeq.structures.batch import AtomicBatch, EwaldTerms, GeometrySettings, Neighbors
from cace_qeq.structures.convert.conditions import imposed_on
from cace_qeq.structures.convert.frames import check_atoms, place
from cace_qeq.structures.neighbors import padded_table

Floats = NDArray[np.float64]
CLOSEST = 1e-3  # Å; nearer atoms are a mistake in the file
UNCHANGED = np.eye(3)  # deformation of a cell
NO_WIDTHS = np.zeros(0)
LARGEST_STRETCH = 1.1  # of a cell that keeps its k vectors or mesh; costs two of ten digits of an Ewald sum


@dataclass(frozen=True)
class Tables:
    """The integers of a structure.

    external  real-space Ewald pairs of atoms and external charges
    cutoff    Å, the largest within which they hold every pair, the skin aside
    """

    neighbors: Neighbors
    ewald: EwaldTerms
    external: Pairs
    cutoff: float


@dataclass(frozen=True)
class Sites:
    """A structure, and what is imposed on its charges; None for a model that has none.

    positions  (site, 3)  Å, atoms and then external charges
    """

    atoms: Atoms
    imposed: Imposed | None
    total_charge: float

    @classmethod
    def of(cls, atoms: Atoms, settings: GeometrySettings, total_charge: float) -> "Sites":
        """raises  ValueError naming the frame for conditions that `impose` refuses"""
        if settings.largest_width == 0:
            return cls(atoms, None, total_charge)
        places, pbc = torch.tensor(atoms.positions), torch.tensor(atoms.pbc)
        boundary = Boundary(places, periodic_cell(atoms), pbc, total_charge, settings.bonded)
        return cls(atoms, imposed_on(atoms, boundary), total_charge)

    @property
    def positions(self) -> Floats:
        own = np.asarray(self.atoms.positions)
        return own if self.imposed is None else np.concatenate([own, self.imposed.external.positions.numpy()])

    @property
    def thickness(self) -> float:
        """Å, of a slab, external charges included"""
        return thickness_of(self.atoms.cell.array, self.atoms.pbc, self.positions)

    @property
    def widths(self) -> Floats:
        """(external,)  Å"""
        return NO_WIDTHS if self.imposed is None else np.asarray(self.imposed.external.width.numpy())


def to_batch(atoms: Atoms, settings: GeometrySettings, total_charge: float) -> AtomicBatch:
    """A structure as a batch of one, with the conditions that it has written (`conditions_of`).

    total_charge  e, NaN where electrodes decide

    raises  ValueError naming the frame: what `check_atoms` refuses, two atoms at one place; for a model
            with charges periodicity in one direction, and conditions that `impose` refuses
    """
    check_atoms(atoms)
    sites = Sites.of(atoms, settings, total_charge)
    tables = tables_of(sites, settings, ewald_plan(sites, settings), skin=0.0)
    return moved(assembled(atoms, tables, settings), sites, tables)


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
        self._origin: Origin | None = None
        self._tables: Tables | None = None
        self._last: AtomicBatch | None = None
        self._plan: EwaldPlan | None = None
        self._plan_origin: Origin | None = None

    def batch(self, atoms: Atoms, total_charge: float) -> AtomicBatch:
        """As `to_batch`, apart from neighbours beyond the cutoff."""
        sites = Sites.of(atoms, self.settings, total_charge)
        if self._tables is None or self._last is None or not self._covers(sites):
            check_atoms(atoms)
            if not self._plan_suits(sites):
                plan = ewald_plan(sites, self.settings, MARGIN + self.skin)
                self._plan, self._plan_origin = plan, Origin.of(sites)
            self._tables = tables_of(sites, self.settings, self._plan, self.skin)
            self._origin = Origin.of(sites)
            self._last = assembled(atoms, self._tables, self.settings)
        self._last = moved(self._last, sites, self._tables)
        return self._last

    def _plan_suits(self, sites: Sites) -> bool:
        """Whether k vectors or mesh are fine enough for this cell and no finer than they should be; a slab fits in."""
        if self._plan_origin is None or not self._stretched_little(sites):
            return False
        slab = self._plan is not None and self._plan.height > 0
        return not slab or sites.thickness <= self._plan_origin.thickness + MARGIN

    def _stretched_little(self, sites: Sites) -> bool:
        stretches = None if self._plan_origin is None else self._plan_origin.stretches(sites)
        return stretches is not None and bool(1 / LARGEST_STRETCH <= stretches[-1] <= stretches[0] <= LARGEST_STRETCH)

    def _covers(self, sites: Sites) -> bool:
        """Whether no pair has come within a cutoff that the tables do not hold.

        A cell that is deformed by F and atoms that moved by u beside that leave |d F + u_b - u_a| of a distance |d|.
        """
        assert self._origin is not None and self._tables is not None
        deformation = self._origin.deformation(sites)
        if deformation is None or not (self._plan is None or self._stretched_little(sites)):
            return False
        smallest_stretch = 1.0 if deformation is UNCHANGED else np.linalg.svd(deformation, compute_uv=False)[-1]
        moved = self._origin.largest_move(sites, deformation)
        lost = self._tables.cutoff * (1 - smallest_stretch) + 2 * moved
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
        before, now = spanning(self.cell, self.pbc), spanning(atoms.cell.array, self.pbc)
        return np.linalg.solve(before, now).astype(np.float64)

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


def spanning(cell: Floats, pbc: NDArray[np.bool_]) -> Floats:
    """(3, 3)  The vectors of a crystal; those of a slab and its unit normal."""
    if pbc.all():
        return cell
    normal = np.cross(*cell[pbc])
    return np.vstack([cell[pbc], normal / np.linalg.norm(normal)])


def tables_of(sites: Sites, settings: GeometrySettings, plan: EwaldPlan | None, skin: float) -> Tables:
    """Neighbours and Ewald terms, both reaching further than needed by the skin."""
    atoms = sites.atoms
    pairs = pairs_of(atoms, settings.cutoff + skin)
    refuse_coincident(atoms, pairs)
    table = padded_table(pairs, len(atoms))
    if plan is None:
        terms = without_ewald()
        return Tables(table, terms, terms.pairs, settings.cutoff)
    return Tables(table, *ewald_terms(sites, plan, skin), max(settings.cutoff, plan.cutoff))


def pairs_of(atoms: Atoms, cutoff: float) -> Pairs:
    return neighbor_pairs(atoms.positions, atoms.cell.array, atoms.pbc, cutoff)


def ewald_plan(sites: Sites, settings: GeometrySettings, margin: float = MARGIN) -> EwaldPlan | None:
    """For a structure with charges that is a crystal or a slab; it suits external charges too.

    margin  Å, by which a slab may grow thicker

    raises  ValueError for charges and periodicity in one direction
    """
    atoms = sites.atoms
    if settings.largest_width == 0 or not atoms.pbc.any():
        return None
    if atoms.pbc.sum() == 1:
        raise ValueError(
            f"{place(atoms)}: pbc is {atoms.pbc.tolist()}, expected none, two or three periodic directions, since "
            'charges in wires are not supported; set pbc="T T T" with enough vacuum, or use energy="none".'
        )
    widest = float(np.max(sites.widths, initial=settings.largest_width))
    asked = SumSettings(widest, settings.accuracy, settings.method, settings.mesh_accuracy, margin)
    return plan_sums(atoms.cell.array, atoms.pbc, sites.positions, asked)


def ewald_terms(sites: Sites, plan: EwaldPlan, skin: float) -> tuple[EwaldTerms, Pairs]:
    """Of the atoms, and the pairs of atoms and external charges."""
    atoms, n_atoms = sites.atoms, len(sites.atoms)
    pairs = pairs_once(sites.positions, atoms.cell.array, atoms.pbc, plan.cutoff + skin)
    within, across = split_pairs(pairs.center, pairs.neighbor, n_atoms)
    own = Pairs(pairs.center[within], pairs.neighbor[within], pairs.shift[within])
    external = Pairs(pairs.center[across], pairs.neighbor[across] - n_atoms, pairs.shift[across])
    split, height = torch.tensor([[plan.split], [plan.height]], dtype=torch.float64)
    mesh = torch.tensor([plan.mesh])
    return EwaldTerms(own, torch.from_numpy(plan.triplets).unsqueeze(0), split, height, mesh), external


def without_ewald() -> EwaldTerms:
    index, vectors = torch.zeros(0, dtype=torch.int64), torch.zeros(0, 3, dtype=torch.int64)
    split, height = torch.tensor([[1.0], [0.0]], dtype=torch.float64)
    mesh = torch.tensor([NO_MESH])
    return EwaldTerms(Pairs(index, index, vectors), vectors.unsqueeze(0), split, height, mesh)


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


def assembled(atoms: Atoms, tables: Tables, settings: GeometrySettings) -> AtomicBatch:
    """With nothing imposed; tensors share no memory with the atoms."""
    return AtomicBatch(
        positions=torch.from_numpy(atoms.positions.astype(np.float64)),
        numbers=torch.from_numpy(atoms.numbers.astype(np.int64)),
        masses=torch.from_numpy(atoms.get_masses()),
        structure=torch.zeros(len(atoms), dtype=torch.int64),
        cells=periodic_cell(atoms).unsqueeze(0),
        pbc=torch.from_numpy(atoms.pbc.copy()).unsqueeze(0),
        total_charge=torch.zeros(1, dtype=torch.float64),
        start=torch.zeros(len(atoms), dtype=torch.float64),
        imposed=nothing_imposed(len(atoms)),
        neighbors=tables.neighbors,
        ewald=tables.ewald,
        geometry=settings,
    )


def moved(batch: AtomicBatch, sites: Sites, tables: Tables) -> AtomicBatch:
    """With the atoms, the cell, and what is imposed as they are now; the rest is shared."""
    atoms, around = sites.atoms, tables.external
    batch = replace(
        batch,
        positions=torch.from_numpy(atoms.positions.astype(np.float64)),
        cells=periodic_cell(atoms).unsqueeze(0),
        total_charge=torch.tensor([sites.total_charge], dtype=torch.float64),
    )
    if sites.imposed is None:
        return batch
    return replace(batch, imposed=sites.imposed.with_pairs(around.center, around.neighbor, around.shift))


def periodic_cell(atoms: Atoms) -> torch.Tensor:
    """(3, 3)  Å, zeros in open directions"""
    return torch.from_numpy(atoms.cell.array * atoms.pbc[:, None])
