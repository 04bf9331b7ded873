"""A batch of structures to its charges: where the world as tensors meets the electrostatics."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor

from cace_qeq.electrostatics import (
    ChargeGeometry,
    ChargeParameters,
    Constraints,
    Equilibrium,
    Task,
    Walls,
    constraints_of,
    equilibrate_shells,
    imposed_potential,
)
from cace_qeq.slab import closed_cells
from cace_qeq.structures.batch import AtomicBatch


@dataclass(frozen=True)
class Charged:
    """Charges of a batch, and where they come from.

    geometry     structures
    parameters   of the atoms themselves
    imposed      (atom,)  eV/e, what a charge costs beside its electronegativity: fields, electrodes, external charges
    walls        of the atoms' shells, None without closed shells
    constraints  on the charges
    equilibrium  under all of these
    """

    geometry: ChargeGeometry
    parameters: ChargeParameters
    imposed: Tensor
    walls: Walls | None
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
        charges, of_atoms = self.equilibrium.charges, self.parameters
        parts = self.coulomb_parts + charges * (of_atoms.electronegativity + of_atoms.hardness * charges / 2)
        return parts if self.walls is None else parts + self.walls.energy(charges)

    @property
    def coulomb_parts(self) -> Tensor:
        """(atom,)  eV, that add up to the energy"""
        return self.equilibrium.charges * (self.imposed + self.equilibrium.potential / 2)


def equilibrium_of(
    batch: AtomicBatch, parameters: ChargeParameters, walls: Walls | None, find: Callable[[Task], Equilibrium]
) -> Charged:
    """Charges that minimise E_qeq under the conditions of the batch.

    walls  of closed shells, or None
    find   the charges of a task without walls

    Raises ValueError for structures that `charge_geometry` refuses, and charges without a minimum.
    """
    geometry = charge_geometry(batch)
    imposed = imposed_potential(geometry, parameters.width, batch.imposed)
    felt = replace(parameters, electronegativity=parameters.electronegativity + imposed)
    constraints = constraints_of(geometry, batch.imposed, batch.total_charge)

    def solve(quadratic: ChargeParameters) -> Equilibrium:
        return find(Task(geometry, quadratic, constraints, batch.start))

    found = solve(felt) if walls is None else equilibrate_shells(geometry, solve, felt, walls)
    return Charged(geometry, parameters, imposed, walls, constraints, found)


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
