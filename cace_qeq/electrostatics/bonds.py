"""Charge that flows along bonds alone, and dies with their length: split charges.   (boundaries, B10 to B15)

Nistor et al., doi 10.1063/1.2346671; Verstraelen et al., doi 10.1063/1.4791569. Plain equilibration is the limit of
soft bonds between all atoms.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from cace_qeq.electrostatics.constraints import Constraints, vector_times
from cace_qeq.electrostatics.geometry import ChargeGeometry
from cace_qeq.electrostatics.kernels import Background
from cace_qeq.electrostatics.matrix import coulomb_matrix
from cace_qeq.electrostatics.qeq import ChargeParameters, Equilibrium

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
        sums = carried.new_zeros(geometry.n_structures, 3)
        sums = sums.index_add(0, geometry.structure[self.bonds.center], carried)
        begun = geometry.padded(self.source, False).any(1) | (self.constraints.values != 0).any(1)
        return torch.where(begun.unsqueeze(1), torch.nan, sums)


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


@dataclass(frozen=True)
class BondEquations:
    """q + L v = q⁰, or v = -λ for atoms of electrodes; Σ q = Q where that is given, else λ = 0.   (boundaries, B15)

    laplacian  (structure, N, N)  e²/eV, L
    start      (structure, N)     e, q⁰ and what electrodes' potentials and fields drive along bonds
    source     (structure, N)     bool
    counted    (structure, N)     one for all atoms where electrodes share a given total charge, else zeros
    total      (structure,)       e, that charge, else zero
    """

    laplacian: Tensor
    start: Tensor
    source: Tensor
    counted: Tensor
    total: Tensor

    def system(self, matrix: Tensor) -> Tensor:
        """(structure, N + 1, N + 1)  that gives q and λ for v = χ + K q

        matrix  (structure, N, N)  K
        """
        source, held = self.source.to(matrix.dtype), self.counted.any(1, keepdim=True).to(matrix.dtype)
        flowing = torch.diag_embed(1 - source) + (1 - source).unsqueeze(2) * (self.laplacian @ matrix)
        block = torch.cat([flowing + source.unsqueeze(2) * matrix, source.unsqueeze(2)], dim=2)
        border = torch.cat([self.counted, 1 - held], dim=1)
        return torch.cat([block, border.unsqueeze(1)], dim=1)

    def right(self, electronegativity: Tensor) -> Tensor:
        """(structure, N + 1)"""
        flowing = self.start - vector_times(electronegativity, self.laplacian)
        return torch.cat([torch.where(self.source, -electronegativity, flowing), self.total.unsqueeze(1)], dim=1)

    def residual(self, charges: Tensor, slope: Tensor, multiplier: Tensor) -> Tensor:
        """(structure, N)  e, and eV/e for atoms of electrodes

        charges, slope  (structure, N)  q and v
        multiplier      (structure,)    λ
        """
        flowing = charges - self.start + vector_times(slope, self.laplacian)
        return torch.where(self.source, slope + multiplier.unsqueeze(1), flowing)


def bond_equations(geometry: ChargeGeometry, circuit: Circuit) -> BondEquations:
    """Those that all conditions together make."""
    source = geometry.padded(circuit.source, False)
    fed = source.any(1)
    start = geometry.padded(beginning(geometry, circuit), 0.0)
    counted = circuit.constraints.rows[:, 0] * fed.unsqueeze(1)
    return BondEquations(
        laplacian(geometry, circuit.bonds), start, source, counted, circuit.constraints.values[:, 0] * fed
    )


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
    """(atom,)  how much of its excess charge an atom has, in units of an even share.   (boundaries, B11b)"""
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


def laplacian(geometry: ChargeGeometry, bonds: Bonds) -> Tensor:
    """(structure, N, N)  e²/eV, L_ab = -s_ab with rows that add up to zero"""
    size = geometry.largest
    place = geometry.slot[bonds.center] * size + geometry.slot[bonds.neighbor] % size
    flat = bonds.softness.new_zeros(geometry.n_structures * size * size).index_add(0, place, bonds.softness)
    table = flat.view(-1, size, size)
    table = table + table.transpose(1, 2)
    return torch.diag_embed(table.sum(2)) - table  # an atom's own images drop out


def equilibrate_bonds(
    geometry: ChargeGeometry, parameters: ChargeParameters, circuit: Circuit, background: Background = "point"
) -> Equilibrium:
    """Minimise χ.q + q.K q / 2 + Σ κ p² / 2 over the charges p on bonds, with q = q⁰ + what flows along them.

    parameters  of the atoms; χ with what is imposed on it (`potentials.imposed_potential`)

    At the minimum p = -s (v_b - v_a) with v = χ + K q, so that (1 + L K) q = q⁰ - L χ: a system of the size of the
    charges, whatever the number of bonds, that stays well behaved when bonds break and s → 0. Sources of electrodes
    give charge at no cost but -μ, whether it stays on the electrode or flows on.
    """
    equations = bond_equations(geometry, circuit)
    electronegativity = geometry.padded(parameters.electronegativity, 0.0)
    hardness = geometry.padded(parameters.hardness, 1.0)
    matrix = coulomb_matrix(geometry, parameters.width, background) + torch.diag_embed(hardness)
    found = torch.linalg.solve(equations.system(matrix), equations.right(electronegativity))
    table, shared = found[:, :-1], found[:, -1]
    energy = _StationaryEnergy.apply(
        matrix, electronegativity, equations.start, equations.total, equations.laplacian, table, shared
    )
    slope = electronegativity + vector_times(table, matrix)
    flow = Flow(geometry.unpadded(table), geometry.unpadded(slope), shared, energy)
    return completed(flow, geometry, parameters, circuit)


@dataclass(frozen=True)
class Flow:
    """What solves the equations of bonds.

    charges     (atom,)       e, q
    slope       (atom,)       eV/e, v = χ + K q
    multiplier  (structure,)  eV/e, λ, zero where electrodes do not share a given total charge
    energy      (structure,)  eV, χ.q + q.K q / 2 + v.L v / 2
    """

    charges: Tensor
    slope: Tensor
    multiplier: Tensor
    energy: Tensor


def completed(flow: Flow, geometry: ChargeGeometry, parameters: ChargeParameters, circuit: Circuit) -> Equilibrium:
    """Energy as B15 has it, multipliers of all constraints, and the potential of the charges."""
    energy = flow.energy - geometry.summed(circuit.halved(circuit.bonds.softness * circuit.drive.square() / 2))
    potential = flow.slope - parameters.electronegativity - parameters.hardness * flow.charges
    by_charge = -flow.slope * shares(geometry, circuit)  # of each atom in the charge that it shares
    fed = loose(geometry, circuit) | circuit.source
    by_charge = torch.where(fed, flow.multiplier[geometry.structure], by_charge)
    multipliers = circuit.constraints.multipliers(geometry.padded(by_charge, 0.0))
    coulomb_energy = geometry.summed(flow.charges * potential) / 2
    return Equilibrium(flow.charges, multipliers, energy, potential, coulomb_energy)


def loose(geometry: ChargeGeometry, circuit: Circuit) -> Tensor:
    """(atom,)  bool, beside electrodes, and known to no constraint but the total charge"""
    source, fragments = geometry.padded(circuit.source, False), circuit.constraints.rows[:, 1:].any(1)
    return geometry.unpadded(source.any(1, keepdim=True) & ~source & ~fragments)


class _StationaryEnergy(torch.autograd.Function):
    """χ.q + q.K q / 2 + v.L v / 2 at its minimum, with v = χ + K q.

    dE/dK = q qᵀ / 2, dE/dχ = q, dE/dq⁰ = v + λ, dE/dQ = -λ, dE/dL = -v vᵀ / 2; these hold q and λ with their graph, so
    higher orders see the response of the charges.
    """

    @staticmethod
    def forward(
        ctx: Any,
        matrix: Tensor,
        electronegativity: Tensor,
        start: Tensor,
        total: Tensor,
        laplacian: Tensor,
        charges: Tensor,
        multiplier: Tensor,
    ) -> Tensor:
        ctx.save_for_backward(matrix, electronegativity, charges, multiplier)
        product = vector_times(charges, matrix)
        slope = electronegativity + product
        on_bonds = (slope * vector_times(slope, laplacian)).sum(-1)
        return (charges * (electronegativity + product / 2)).sum(-1) + on_bonds / 2

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        matrix, electronegativity, charges, multiplier = ctx.saved_tensors
        slope = electronegativity + vector_times(charges, matrix)
        scale = gradients[0].unsqueeze(-1)
        by_matrix = (scale * charges / 2).unsqueeze(-1) * charges.unsqueeze(-2)
        by_laplacian = -(scale * slope / 2).unsqueeze(-1) * slope.unsqueeze(-2)
        by_start = scale * (slope + multiplier.unsqueeze(-1))
        return by_matrix, scale * charges, by_start, -gradients[0] * multiplier, by_laplacian, None, None
