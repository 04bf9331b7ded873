"""What charge flows along, under fragments, electrodes and fields; where it begins.   (boundaries, eqs. B10 to B18)"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from cace_qeq.conditions import SAME_CHARGE
from cace_qeq.electrostatics.constraints import Constraints
from cace_qeq.electrostatics.geometry import ChargeGeometry

NO_CHARGE = 1e-12  # e, of an atom; rounding of constraints is no excess


@dataclass(frozen=True)
class Bonds:
    """Between which atoms charge flows, and how easily: in both directions with half of the softness, or once with all.

    center    (bond,)    int64
    neighbor  (bond,)    int64
    softness  (bond,)    e²/eV, s / 2 in each direction, s = 1 / κ: a bond that carries the charge p costs κ p² / 2
    vector    (bond, 3)  Å, from the center to the neighbour, or to that of its images which is meant
    """

    center: Tensor
    neighbor: Tensor
    softness: Tensor
    vector: Tensor

    def of(self, place: Tensor) -> "Bonds":
        """Of some atoms that have none with others.

        place  (atom,)  int64, what they are called now, -1 for the others
        """
        kept = (place[self.center] >= 0).nonzero().flatten()
        ends = place[self.center[kept]], place[self.neighbor[kept]]
        return Bonds(*ends, self.softness[kept], self.vector[kept])

    def drops(self, cost: Tensor) -> Tensor:
        """(bond,)  eV/e, v_b - v_a, which drives charge from the neighbour to the center

        cost  (atom,)  eV/e, v
        """
        return cost.index_select(0, self.neighbor) - cost.index_select(0, self.center)

    def add_to_ends(self, at_center: Tensor, at_neighbor: Tensor, n_atoms: int) -> Tensor:
        """(bond,), (bond,) -> (atom,)  sums"""
        return (
            at_center.new_zeros(n_atoms).index_add(0, self.center, at_center).index_add(0, self.neighbor, at_neighbor)
        )


@dataclass(frozen=True)
class Wiring:
    """Bonds of a batch, and where an excess of charge begins.

    bonds       that charge flows along
    preference  (atom, 2)  of positive and of negative excess charge, which begins e times as large where this is
                larger by one
    """

    bonds: Bonds
    preference: Tensor


@dataclass(frozen=True)
class Circuit:
    """A wiring as fragments, electrodes and fields leave it: what holds the charges of a batch together.

    bonds        none between fragments, so that every one keeps what it starts with, and none between atoms of
                 electrodes, which have their charge from sources
    constraints  on the charges
    source       (atom,)  bool, in an electrode
    drive        (bond,)  eV/e, what drives charge to the center beside the slopes v of either end: potentials of
                 electrodes, and fields along periodic directions
    fragment     (atom,)  int64, number of its fragment among those of the structure, 0 in none
    preference   (atom, 2)  of excess charge
    """

    bonds: Bonds
    constraints: Constraints
    source: Tensor
    drive: Tensor
    fragment: Tensor
    preference: Tensor

    def of(self, structures: Tensor, atoms: Tensor, largest: int) -> "Circuit":
        """Of some structures, in ascending order, with these atoms and that many of them in one at most."""
        numbers = torch.arange(len(atoms), device=atoms.device)
        place = atoms.new_full((len(self.source),), -1).index_copy(0, atoms, numbers)
        drive = self.drive[place[self.bonds.center] >= 0]
        of_atoms = self.fragment[atoms], self.preference[atoms]
        constraints = self.constraints.of(structures, largest)
        return Circuit(self.bonds.of(place), constraints, self.source[atoms], drive, *of_atoms)

    def flow(self, slope: Tensor) -> Tensor:
        """(bond,)  e, p = s (v_b - v_a + drive), to the center

        slope  (atom,)  eV/e, v, of all other energy in the charges, -μ of the electrodes included
        """
        return self.bonds.softness * (self.bonds.drops(slope) + self.drive)

    def energies(self, slope: Tensor) -> Tensor:
        """(atom,)  eV, what the flow costs, p² / 2s, half at either end"""
        driving = self.bonds.drops(slope) + self.drive
        return self.halved(self.bonds.softness * driving.square() / 2)

    def paid(self, slope: Tensor) -> Tensor:
        """(atom,)  eV, what charge pays for being driven, half at either end"""
        return self.halved(-self.drive * self.flow(slope))

    def halved(self, values: Tensor) -> Tensor:
        """(bond,) -> (atom,)"""
        return self.bonds.add_to_ends(values / 2, values / 2, len(self.source))

    def inflow(self, flow: Tensor) -> Tensor:
        """(bond,) e -> (atom,) e, what bonds bring"""
        return self.bonds.add_to_ends(flow, -flow, len(self.source))

    def moments(self, geometry: ChargeGeometry, slope: Tensor) -> Tensor:
        """(structure, 3)  e Å, of what has flowed; NaN for structures in which not all charge is from bonds"""
        carried = -self.flow(slope).unsqueeze(1) * self.bonds.vector
        by_atom = carried.new_zeros(len(self.source), 3).index_add(0, self.bonds.center, carried)
        begun = geometry.padded(self.source, False).any(1) | (self.constraints.values.abs() > SAME_CHARGE).any(1)
        return torch.where(begun.unsqueeze(1), torch.nan, geometry.summed(by_atom))


def circuit_of(
    geometry: ChargeGeometry, wiring: Wiring, constraints: Constraints, potential: Tensor, field: Tensor
) -> Circuit:
    """A wiring under constraints, electrodes and fields.

    potential  (atom,)         eV/e, of the electrode that the atom belongs to, NaN in none
    field      (structure, 3)  V/Å, along periodic directions
    """
    bonds = wiring.bonds
    members = constraints.rows[:, 1:]
    place = torch.arange(1, 1 + members.shape[1], device=members.device).to(members.dtype)
    fragment = geometry.unpadded((place.view(-1, 1) * members).sum(1)).long()
    source, ends = ~potential.isnan(), (bonds.center, bonds.neighbor)
    kept = (fragment[ends[0]] == fragment[ends[1]]) & ~(source[ends[0]] & source[ends[1]])
    along_field = (field[geometry.structure[bonds.center]] * bonds.vector).sum(-1)
    drive = bonds.drops(torch.where(source, potential, 0.0)) - along_field
    cut = replace(bonds, softness=bonds.softness * kept)
    return Circuit(cut, constraints, source, drive, fragment, wiring.preference)


def beginning(geometry: ChargeGeometry, circuit: Circuit) -> Tensor:
    """(atom,)  e, q⁰ and what electrodes' potentials and fields drive along bonds; zero in electrodes"""
    excess = even_excess(geometry, circuit) * shares(geometry, circuit)
    driven = circuit.inflow(circuit.bonds.softness * circuit.drive)
    return (excess + driven) * ~circuit.source


def even_excess(geometry: ChargeGeometry, circuit: Circuit) -> Tensor:
    """(atom,)  e, of the charge of its fragment, or of what is left of the total; nothing where electrodes give that"""
    constraints, fed = circuit.constraints, geometry.padded(circuit.source, False).any(1, keepdim=True)
    given = ~fed | constraints.rows[:, 1:].any(1)
    return geometry.unpadded(constraints.smallest(constraints.values) * given)


def shares(geometry: ChargeGeometry, circuit: Circuit) -> Tensor:
    """(atom,)  how much of its excess charge an atom has, in units of an even share.   (boundaries, eq. B14)"""
    positive = even_excess(geometry, circuit).detach() > NO_CHARGE
    preference = torch.where(positive, circuit.preference[:, 0], circuit.preference[:, 1])
    group = geometry.structure * circuit.constraints.rows.shape[1] + circuit.fragment
    n_groups = geometry.n_structures * circuit.constraints.rows.shape[1]
    largest = (
        preference.detach().new_full((n_groups,), -torch.inf).scatter_reduce(0, group, preference.detach(), "amax")
    )
    weight = (preference - largest[group]).exp()
    total = weight.new_zeros(n_groups).index_add(0, group, weight)
    return weight / total[group] * torch.bincount(group)[group]
