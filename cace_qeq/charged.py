"""A batch of structures to its charges: where the world as tensors meets the electrostatics."""

from dataclasses import dataclass, replace

from torch import Tensor

from cace_qeq.electrostatics import (
    Background,
    Bonds,
    ChargeGeometry,
    ChargeParameters,
    Constraints,
    Equilibrium,
    Solver,
    Task,
    Walls,
    constraints_of,
    cut_between,
    equilibrate_bonds,
    equilibrate_shells,
    find_charges,
    imposed_potential,
)
from cace_qeq.slab import closed_cells
from cace_qeq.structures.batch import AtomicBatch


@dataclass(frozen=True)
class Wishes:
    """What atoms and bonds say of charges.

    parameters  of the atoms
    walls       of their shells, None without closed shells
    bonds       that charge flows along, None where it flows freely
    """

    parameters: ChargeParameters
    walls: Walls | None
    bonds: Bonds | None


@dataclass(frozen=True)
class Charged:
    """Charges of a batch, and where they come from.

    geometry     structures
    wishes       of the atoms themselves
    imposed      (atom,)  eV/e, what a charge costs beside its electronegativity: fields, electrodes, external charges
    constraints  on the charges
    equilibrium  under all of these
    """

    geometry: ChargeGeometry
    wishes: Wishes
    imposed: Tensor
    constraints: Constraints
    equilibrium: Equilibrium

    @property
    def stationary_energy(self) -> Tensor:
        """(structure,)  eV, (χ + v).q + q.K q / 2"""
        return self.equilibrium.energy

    @property
    def coulomb_energy(self) -> Tensor:
        """(structure,)  eV, v.q + q.A q / 2"""
        return self.equilibrium.coulomb_energy + self.geometry.summed(self.imposed * self.equilibrium.charges)

    @property
    def stationary_parts(self) -> Tensor:
        """(atom,)  eV, that add up to the energy"""
        charges, of_atoms, walls = self.equilibrium.charges, self.wishes.parameters, self.wishes.walls
        parts = self.coulomb_parts + charges * (of_atoms.electronegativity + of_atoms.hardness * charges / 2)
        if walls is not None:
            parts = parts + walls.energy(charges)
        return parts if self.wishes.bonds is None else parts + self.wishes.bonds.energies(self.slope)

    @property
    def slope(self) -> Tensor:
        """(atom,)  eV/e, of all energy but that on bonds in the charges"""
        charges, of_atoms, walls = self.equilibrium.charges, self.wishes.parameters, self.wishes.walls
        own = of_atoms.electronegativity + of_atoms.hardness * charges + self.imposed + self.equilibrium.potential
        return own if walls is None else own + walls.slope(charges)

    @property
    def coulomb_parts(self) -> Tensor:
        """(atom,)  eV, that add up to the energy"""
        return self.equilibrium.charges * (self.imposed + self.equilibrium.potential / 2)


def equilibrium_of(batch: AtomicBatch, wishes: Wishes, background: Background, solver: Solver) -> Charged:
    """Charges that minimise E_qeq under the conditions of the batch.

    Raises ValueError for structures that `charge_geometry` refuses, electrodes where charge flows along bonds alone,
    and charges without a minimum.
    """
    geometry = charge_geometry(batch)
    parameters, walls, bonds = wishes.parameters, wishes.walls, wishes.bonds
    imposed = imposed_potential(geometry, parameters.width, batch.imposed, background)
    felt = replace(parameters, electronegativity=parameters.electronegativity + imposed)
    constraints = constraints_of(geometry, batch.imposed, batch.total_charge)
    if bonds is not None:
        bonds = cut_between(bonds, geometry, constraints)

    def solve(quadratic: ChargeParameters) -> Equilibrium:
        if bonds is not None:
            return equilibrate_bonds(geometry, quadratic, constraints, bonds, background)
        return find_charges(Task(geometry, quadratic, constraints, batch.start), background, solver)

    found = solve(felt) if walls is None else equilibrate_shells(geometry, solve, felt, walls)
    return Charged(geometry, Wishes(parameters, walls, bonds), imposed, constraints, found)


def charge_geometry(batch: AtomicBatch) -> ChargeGeometry:
    """The batch as the electrostatics room sees it.

    Raises ValueError for periodicity in one direction, and slabs whose batch was made for a model without charges.
    """
    pairs, ewald = batch.ewald.pairs, batch.ewald
    n_periodic = batch.pbc.sum(dim=1)
    if ((n_periodic == 1) | (n_periodic == 2) & (ewald.height == 0)).any():
        raise ValueError(
            "charge equilibration needs structures that are periodic in none, two or three directions, and batches "
            'made with the geometry of the model; for wires set pbc="T T T" with enough vacuum, or energy="none".'
        )
    cells, normal = closed_cells(batch.cells, batch.pbc, ewald.height)
    return ChargeGeometry(
        positions=batch.positions,
        cells=cells,
        periodic=batch.pbc.any(dim=1),
        normal=normal,
        structure=batch.structure,
        center=pairs.center,
        neighbor=pairs.neighbor,
        shift=pairs.shift,
        triplets=ewald.triplets,
        split=ewald.split,
        mesh=ewald.mesh,
    )
