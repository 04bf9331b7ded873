"""One structure as tensors."""

from dataclasses import dataclass, replace
from numbers import Real

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray

from cace_qeq.conditions import Imposed, nothing_imposed, split_pairs
from cace_qeq.impose import Boundary
from cace_qeq.lattice import NO_MESH, EwaldPlan
from cace_qeq.neighbors import Pairs, closest, neighbor_pairs_and_distances, pairs_once
from cace_qeq.planning import SumSettings, plan_sums
from cace_qeq.slab import MARGIN, thickness_of
from cace_qeq.structures.batch import AtomicBatch, EwaldTerms, GeometrySettings
from cace_qeq.structures.convert.conditions import imposed_on
from cace_qeq.structures.convert.frames import check_atoms, place
from cace_qeq.structures.neighbors import padded_table
from cace_qeq.structures.table import Neighbors

Floats = NDArray[np.float64]
NO_WIDTHS = np.zeros(0)


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

    raises  ValueError naming the frame: what `check_atoms` refuses, two atoms nearer than a
            hundredth of √2 times the largest width (0.001 Å without charges); for a model with charges
            periodicity in one direction, and conditions that `impose` refuses;
            TypeError for settings and charges that are none
    """
    if not isinstance(settings, GeometrySettings):
        raise TypeError(f"settings is {type(settings).__name__}, expected GeometrySettings: a model's .geometry.")
    check_atoms(atoms)
    if not isinstance(total_charge, Real):
        raise TypeError(f"{place(atoms)}: total_charge is {total_charge!r}, expected a number of e.")
    sites = Sites.of(atoms, settings, float(total_charge))
    tables = tables_of(sites, settings, ewald_plan(sites, settings), skin=0.0)
    return moved(assembled(atoms, tables, settings), sites, tables)


def tables_of(sites: Sites, settings: GeometrySettings, plan: EwaldPlan | None, skin: float) -> Tables:
    """Neighbours and Ewald terms, both reaching further than needed by the skin."""
    atoms = sites.atoms
    within = settings.cutoff + skin
    pairs, distances = neighbor_pairs_and_distances(atoms.positions, atoms.cell.array, atoms.pbc, within)
    widest = torch.tensor(settings.largest_width, dtype=torch.float64)
    refuse_coincident(atoms, pairs, distances, float(closest(widest, widest)))
    table = padded_table(pairs, len(atoms))
    if plan is None:
        terms = without_ewald()
        return Tables(table, terms, terms.pairs, settings.cutoff)
    return Tables(table, *ewald_terms(sites, plan, skin), max(settings.cutoff, plan.cutoff))


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


def refuse_coincident(atoms: Atoms, pairs: Pairs, distances: Floats, smallest: float) -> None:
    """Raise ValueError for two atoms, or an atom and an image, nearer than the smallest distance (Å)."""
    if len(distances) and distances.min() < smallest:
        pair = int(distances.argmin())
        raise ValueError(
            f"{place(atoms)}, atoms {pairs.center[pair]} and {pairs.neighbor[pair]}: less than {smallest:.2g} Å "
            "apart, images included, expected a place of its own for each; remove duplicates, and check cell and units."
        )


def assembled(atoms: Atoms, tables: Tables, settings: GeometrySettings) -> AtomicBatch:
    """With nothing imposed; tensors share no memory with the atoms."""
    return AtomicBatch(
        positions=torch.from_numpy(atoms.positions.astype(np.float64, order="C")),
        numbers=torch.from_numpy(atoms.numbers.astype(np.int64)),
        masses=torch.from_numpy(atoms.get_masses().astype(np.float64)),
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
        positions=torch.from_numpy(atoms.positions.astype(np.float64, order="C")),
        cells=periodic_cell(atoms).unsqueeze(0),
        total_charge=torch.tensor([sites.total_charge], dtype=torch.float64),
    )
    if sites.imposed is None:
        return batch
    return replace(batch, imposed=sites.imposed.with_pairs(around.center, around.neighbor, around.shift))


def periodic_cell(atoms: Atoms) -> torch.Tensor:
    """(3, 3)  Å, zeros in open directions"""
    return torch.from_numpy(atoms.cell.array * atoms.pbc[:, None])
