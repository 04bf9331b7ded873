"""A batch of structures to its charges: where the world as tensors meets the electrostatics."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from cace_qeq.electrostatics import (
    Background,
    ChargeGeometry,
    ChargeParameters,
    Circuit,
    Constraints,
    Equilibrium,
    Solver,
    Task,
    Walls,
    Wiring,
    along_lattice,
    circuit_of,
    constraints_of,
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
    wiring      None where charge flows freely
    """

    parameters: ChargeParameters
    walls: Walls | None
    wiring: Wiring | None


@dataclass(frozen=True)
class Charged:
    """Charges of a batch, and where they come from.

    geometry     structures
    wishes       of the atoms themselves
    imposed      (atom,)  eV/e, what a charge costs beside its electronegativity: fields, electrodes, external charges
    constraints  on the charges
    circuit      that charge flows in, None where it flows freely
    equilibrium  under all of these
    """

    geometry: ChargeGeometry
    wishes: Wishes
    imposed: Tensor
    constraints: Constraints
    circuit: Circuit | None
    equilibrium: Equilibrium

    @property
    def stationary_energy(self) -> Tensor:
        """(structure,)  eV, (χ + v).q + q.K q / 2"""
        return self.equilibrium.energy

    @property
    def coulomb_energy(self) -> Tensor:
        """(structure,)  eV, v.q + q.A q / 2, and what sources pay for charge that flows on along bonds"""
        return self.geometry.summed(self.coulomb_parts)

    @property
    def stationary_parts(self) -> Tensor:
        """(atom,)  eV, that add up to the energy"""
        charges, of_atoms, walls = self.equilibrium.charges, self.wishes.parameters, self.wishes.walls
        parts = self.coulomb_parts + charges * (of_atoms.electronegativity + of_atoms.hardness * charges / 2)
        if walls is not None:
            parts = parts + walls.energy(charges)
        return parts if self.circuit is None else parts + self.circuit.energies(self.slope)

    @property
    def moments(self) -> Tensor:
        """(structure, 3)  e Å, of charge that has flowed along bonds from neutral atoms; NaN without that"""
        if self.circuit is None:
            return torch.full_like(self.geometry.cells[:, 0], torch.nan)
        return self.circuit.moments(self.geometry, self.slope)

    @property
    def slope(self) -> Tensor:
        """(atom,)  eV/e, of all energy but that on bonds in the charges"""
        charges, of_atoms, walls = self.equilibrium.charges, self.wishes.parameters, self.wishes.walls
        own = of_atoms.electronegativity + of_atoms.hardness * charges + self.imposed + self.equilibrium.potential
        return own if walls is None else own + walls.slope(charges)

    @property
    def coulomb_parts(self) -> Tensor:
        """(atom,)  eV, that add up to the energy"""
        return self.imposed_parts + self.equilibrium.charges * self.equilibrium.potential / 2

    @property
    def imposed_parts(self) -> Tensor:
        """(atom,)  eV, of fields, external charges and sources"""
        parts = self.imposed * self.equilibrium.charges
        return parts if self.circuit is None else parts + self.circuit.paid(self.slope)


def equilibrium_of(batch: AtomicBatch, wishes: Wishes, background: Background, solver: Solver) -> Charged:
    """Charges that minimise E_qeq under the conditions of the batch.

    Raises ValueError for charges without a minimum, ConvergenceError where they are not found.
    """
    geometry = charge_geometry(batch)
    parameters = wishes.parameters
    lattice_field = along_lattice(geometry, batch.imposed.field)
    upright = batch.imposed
    if wishes.wiring is not None:  # which the rest of a field drives charge along
        upright = replace(upright, field=upright.field - lattice_field)
    imposed = imposed_potential(geometry, parameters.width, upright, background)
    felt = replace(parameters, electronegativity=parameters.electronegativity + imposed)
    constraints = constraints_of(geometry, batch.imposed, batch.total_charge)
    circuit = None
    if wishes.wiring is not None:
        circuit = circuit_of(geometry, wishes.wiring, constraints, batch.imposed.potential, lattice_field)

    def solve(quadratic: ChargeParameters) -> Equilibrium:
        return find_charges(Task(geometry, quadratic, constraints, batch.start, circuit), background, solver)

    if wishes.walls is None:
        found = solve(felt)
    else:
        found = equilibrate_shells(geometry, solve, felt, wishes.walls, solver.tolerance)
    return Charged(geometry, wishes, imposed, constraints, circuit, found)


def charge_geometry(batch: AtomicBatch) -> ChargeGeometry:
    """The batch as the electrostatics room sees it."""
    return geometry_in(batch, *closed_cells(batch.cells, batch.pbc, batch.ewald.height))


def geometry_in(batch: AtomicBatch, cells: Tensor, normal: Tensor) -> ChargeGeometry:
    """The same in cells that are closed, with normals of slabs."""
    pairs, ewald = batch.ewald.pairs, batch.ewald
    return ChargeGeometry(
        positions=batch.positions,
        cells=cells,
        periodic=batch.pbc.any(dim=1),
        normal=normal,
        structure=batch.structure,
        center=pairs.center,
        neighbor=pairs.neighbor,
        shift=pairs.shift_components,
        triplets=ewald.triplets,
        split=ewald.split,
        mesh=ewald.mesh,
    )
