"""Atoms as tensors: one frozen batch of structures of any sizes and boundaries."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from cace_qeq.conditions import Imposed
from cace_qeq.lattice import Method
from cace_qeq.neighbors import Pairs
from cace_qeq.records import moved
from cace_qeq.structures.table import Neighbors


@dataclass(frozen=True)
class GeometrySettings:
    """What a model needs to know about a structure.

    cutoff         Å   of the atomic environments
    largest_width  Å   widest Gaussian charge the model may use; 0 for a model without charges
    accuracy           of the Ewald sums
    method             of finding charges
    mesh_accuracy      of particle-mesh sums
    bonded             whether charge flows along bonds
    """

    cutoff: float
    largest_width: float = 0.0
    accuracy: float = 1e-10
    method: Method = "auto"
    mesh_accuracy: float = 1e-5
    bonded: bool = False


@dataclass(frozen=True)
class EwaldTerms:
    """Integers of the Ewald sums of crystals and slabs; empty without any.

    pairs     real-space pairs, each of them once, images of an atom with itself included
    triplets  (structure, k, 3)  int64  reciprocal vectors, rows of zeros are padding
    split     (structure,)       Å      η; 1 for structures that are not periodic
    height    (structure,)       Å      of the cell that a slab is summed in; 0 unless a slab
    mesh      (structure, 4)     int64  points along each lattice vector, spline order; zeros without a mesh
    """

    pairs: Pairs
    triplets: Tensor
    split: Tensor
    height: Tensor
    mesh: Tensor


@dataclass(frozen=True)
class AtomicBatch:
    """Structures, one after the other. Floats are float64.

    positions     (atom, 3)          Å
    numbers       (atom,)     int64  atomic numbers
    masses        (atom,)            u
    structure     (atom,)     int64  which structure the atom belongs to, ascending
    cells         (structure, 3, 3)  Å, rows are lattice vectors; zeros for a molecule
    pbc           (structure, 3)     bool
    total_charge  (structure,)       e, NaN where electrodes decide
    start         (atom,)            e, charges that iterative solvers begin with
    imposed       on the charges beside their total
    neighbors     of the atomic environments
    ewald         of the electrostatics
    geometry      that both of these were made for
    """

    positions: Tensor
    numbers: Tensor
    masses: Tensor
    structure: Tensor
    cells: Tensor
    pbc: Tensor
    total_charge: Tensor
    start: Tensor
    imposed: Imposed
    neighbors: Neighbors
    ewald: EwaldTerms
    geometry: GeometrySettings

    @property
    def n_atoms(self) -> int:
        return self.positions.shape[0]

    @property
    def n_structures(self) -> int:
        return self.cells.shape[0]

    @property
    def periodic(self) -> bool:
        """Whether any structure is, in any direction; asked of numpy, which leaves no trace in recorded operations."""
        return bool(self.pbc.cpu().numpy().any())

    @property
    def volumes(self) -> Tensor:
        """(structure,)  Å³, zero for a molecule."""
        return torch.linalg.det(self.cells).abs()

    def to(self, device: torch.device | str) -> "AtomicBatch":
        return self if self.positions.device == torch.device(device) else moved(self, device)

    def refuse_inference_mode(self) -> None:
        """Raise RuntimeError where torch keeps nothing for derivatives."""
        if torch.is_inference_mode_enabled() or self.positions.is_inference():
            raise RuntimeError(
                "forces and responses are derivatives, and torch.inference_mode leaves none to tensors that are made "
                "in it; make batches and predictions outside of it, or under torch.no_grad"
            )

    def strained(self, strain: Tensor) -> "AtomicBatch":
        """Positions, cells and external charges times (1 + strain), with the integers of neighbours and k vectors kept.

        strain  (structure, 3, 3)
        """
        deformation = torch.eye(3, dtype=strain.dtype, device=strain.device) + strain
        positions = torch.einsum("ax,axy->ay", self.positions, deformation.index_select(0, self.structure))
        external = self.imposed.external
        places = torch.einsum("ax,axy->ay", external.positions, deformation.index_select(0, external.structure))
        imposed = replace(self.imposed, external=replace(external, positions=places))
        return replace(self, positions=positions, cells=self.cells @ deformation, imposed=imposed)

    def displacements(self) -> Tensor:
        """(atom, slot, 3)  Å  from each receiver to its neighbours, PADDING_DISTANCE along each axis in padding."""
        lattice = self.cells.index_select(0, self.structure) if self.periodic else None
        return self.neighbors.displacements(self.positions, lattice).transpose(1, 2)


def expect_batch(found: object, asked: str) -> None:
    """Raise TypeError for anything but a batch.

    asked  who takes one, for the error
    """
    if not isinstance(found, AtomicBatch):
        raise TypeError(
            f"{asked} was given {type(found).__name__}, expected an AtomicBatch: to_batch(atoms, model.geometry, "
            "total_charge) makes one; CACEQEqCalculator takes ase.Atoms."
        )
