"""Charge that flows along bonds of one structure, from products alone, with derivatives.   (solvers, eqs. S6, S7)"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cace_qeq.electrostatics.bonds import Flow, completed
from cace_qeq.electrostatics.circuit import Bonds, Circuit, beginning
from cace_qeq.electrostatics.conjugate_gradients import Constraint, Convergence, System, conjugate_gradients
from cace_qeq.electrostatics.coulomb_forms import charge_form
from cace_qeq.electrostatics.forms import Sum
from cace_qeq.electrostatics.geometry import ChargeGeometry
from cace_qeq.electrostatics.kernels import Background, self_interaction
from cace_qeq.electrostatics.qeq import ChargeParameters, Equilibrium

SMALLEST_SOFTNESS = 1e-14  # e²/eV, of bonds that carry anything

Found = tuple[Tensor, Tensor, Tensor, Tensor]
"""q and v = χ + K q (atom,), λ (), and the constant energy ()"""


def equilibrate_bonds_by_forms(
    geometry: ChargeGeometry,
    parameters: ChargeParameters,
    circuit: Circuit,
    start: Tensor,
    background: Background,
    until: Convergence,
) -> Equilibrium:
    """As `equilibrate_bonds`, of one structure.

    start  (atom,)  e, charges to begin with; zeros where none are known

    Raises ConvergenceError, and MatrixError where K is not positive definite for charges that flow.
    """
    stiffness = (parameters.hardness + self_interaction(parameters.width)).detach()
    held = bool(circuit.source.any() & circuit.constraints.active[0, 0])
    form = charge_form(geometry, parameters, background)
    problem = BondProblem(form, circuit.bonds, circuit.source, held, stiffness, until)
    known = (parameters.electronegativity, beginning(geometry, circuit), circuit.constraints.values[0, 0])
    found = solve_bonds(problem, start, *known)
    charges, slope, multiplier, _ = found
    energy: Tensor = _StationaryEnergy.apply(problem, *found, *known, circuit.bonds.softness, *form.parameters)
    flow = Flow(charges, slope, multiplier.view(1), energy.view(1))
    return completed(flow, geometry, parameters, circuit)


@dataclass(frozen=True)
class BondProblem:
    """Minimise χ.q + q.K q / 2 + Σ κ p² / 2 over p on bonds and r of sources, with q = q⁰ + r + what p brings.

    form       K with its gradients
    bonds      with theirs
    source     (atom,)  bool, gives charge at no cost
    held       whether the sources share a given total charge Q, at a multiplier λ; else λ = 0
    stiffness  (atom,)  eV/e², the diagonal of K, a constant
    until      when conjugate gradients are converged
    """

    form: Sum
    bonds: Bonds
    source: Tensor
    held: bool
    stiffness: Tensor
    until: Convergence

    @torch.no_grad()
    def solution(self, start: Tensor, electronegativity: Tensor, beginning: Tensor, total: Tensor) -> Found:
        ways, potential = Ways.of(self.bonds, self.source), self.form.product(beginning)
        energy = torch.dot(beginning, electronegativity + potential / 2)
        if ways.n_ways:
            right = -ways.slopes(electronegativity + potential)
            given = (total - beginning.sum()).view(1)[: int(self.held)]
            guess = self.guess(ways, start, electronegativity, beginning)
            found = conjugate_gradients(self.system(ways), right, given, guess, self.until)
            charges, multiplier = beginning + ways.charges(found.solution), found.multiplier.sum()
            energy += torch.dot(found.solution, found.product / 2 - right)  # of flows: errors of these count squared
        else:
            charges, multiplier = beginning.clone(), beginning.new_zeros(())
        slope = electronegativity + self.form.product(charges)
        return charges, torch.where(self.source, -multiplier, slope), multiplier, energy

    def system(self, ways: "Ways") -> System:
        """Of p and r."""
        softness, n_bonds = ways.softness, len(ways.softness)

        def product(flows: Tensor) -> Tensor:
            along = ways.slopes(self.form.product(ways.charges(flows)))
            along[:n_bonds] += flows[:n_bonds] / softness
            return along

        # from s alone flows begin as v drives them: loops, along which none of them costs anything, never enter
        eases = torch.cat([softness, 1 / self.stiffness[ways.sources]])
        rows = eases.new_zeros(int(self.held), ways.n_ways)
        rows[:, n_bonds:] = 1.0
        return System(product, lambda residual: eases * residual, Constraint.of(rows))

    def guess(self, ways: "Ways", start: Tensor, electronegativity: Tensor, beginning: Tensor) -> Tensor:
        """What flows where these charges are those of the solution."""
        if not start.any():
            return start.new_zeros(ways.n_ways)
        slope = electronegativity + self.form.product(start)
        along = ways.softness * ways.slopes(slope)[: len(ways.softness)]
        nothing = along.new_zeros(len(ways.sources))
        missing = start - beginning - ways.charges(torch.cat([-along, nothing]))
        return torch.cat([-along, missing[ways.sources]])


@dataclass(frozen=True)
class Ways:
    """On which charge comes to the atoms: along bonds, to their center, and from the sources.

    center    (bond,)    int64
    neighbor  (bond,)    int64
    softness  (bond,)    e²/eV, more than zero
    sources   (source,)  int64, atoms
    n_atoms
    """

    center: Tensor
    neighbor: Tensor
    softness: Tensor
    sources: Tensor
    n_atoms: int

    @property
    def n_ways(self) -> int:
        return len(self.softness) + len(self.sources)

    @classmethod
    def of(cls, bonds: Bonds, source: Tensor) -> "Ways":
        open_ = ((bonds.softness > SMALLEST_SOFTNESS) & (bonds.center != bonds.neighbor)).nonzero().flatten()
        softness = bonds.softness.detach()[open_]
        return cls(bonds.center[open_], bonds.neighbor[open_], softness, source.nonzero().flatten(), len(source))

    def charges(self, flows: Tensor) -> Tensor:
        """(bond + source,) -> (atom,)  e, what they bring"""
        along, given = flows.split([len(self.softness), len(self.sources)])
        brought = flows.new_zeros(self.n_atoms).index_add_(0, self.center, along)
        return brought.index_add_(0, self.neighbor, along, alpha=-1).index_add_(0, self.sources, given)

    def slopes(self, cost: Tensor) -> Tensor:
        """(atom,) eV/e of charges -> (bond + source,) eV/e of flows"""
        along = cost.index_select(0, self.center) - cost.index_select(0, self.neighbor)
        return torch.cat([along, cost.index_select(0, self.sources)])


def solve_bonds(
    problem: BondProblem, start: Tensor, electronegativity: Tensor, beginning: Tensor, total: Tensor
) -> Found:
    """q, v = χ + K q, λ, and the energy, where q + L v = q⁰, in sources v = -λ, and Σ q = Q or λ = 0.

    start              (atom,)  e, a guess of q
    electronegativity  (atom,)  eV/e, χ
    beginning          (atom,)  e, q⁰, zero in sources
    total              ()       e, Q

    Gradients flow from all but the energy, to all but the guess, to the softness of bonds and to all parameters of K,
    to any order.
    """
    found: Found = _BondSolution.apply(
        problem, start, electronegativity, beginning, total, problem.bonds.softness, *problem.form.parameters
    )
    return found


class _BondSolution(torch.autograd.Function):
    """[[K, -1], [-1, -L]] [q; v] = -[χ; q⁰] is symmetric: the adjoint solves the same equations."""

    @staticmethod
    def forward(
        ctx: Any,
        problem: BondProblem,
        start: Tensor,
        electronegativity: Tensor,
        beginning: Tensor,
        total: Tensor,
        softness: Tensor,
        *parameters: Tensor,
    ) -> Found:
        found = problem.solution(start, electronegativity, beginning, total)
        ctx.problem = problem
        ctx.set_materialize_grads(False)  # forces of a stationary energy ask for no response
        ctx.save_for_backward(*found[:3])
        ctx.mark_non_differentiable(found[3])
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        problem, outputs = ctx.problem, ctx.saved_tensors
        if all(gradient is None for gradient in gradients[:3]):
            return (None,) * (6 + len(problem.form.parameters))
        by_charges, by_slope, by_multiplier = (
            torch.zeros_like(output) if gradient is None else gradient
            for output, gradient in zip(outputs, gradients, strict=False)
        )
        charges, slope, _ = outputs
        source, sources = problem.source, bool(problem.source.any())
        begun = torch.where(source, 0.0, -by_slope)
        total = by_multiplier - torch.where(source, by_slope, 0.0).sum() + begun.sum()
        # of positions far from the origin almost all of this is the same for every atom, and moves no charge
        same = by_charges.mean() if problem.held or not sources else torch.zeros_like(by_multiplier)
        cost = same - by_charges
        size = float(torch.cat([cost, begun, total.view(1)]).detach().abs().max()) or 1.0
        known = (cost / size, begun / size, total / size)  # the tolerance is meant for numbers around one
        found = solve_bonds(problem, torch.zeros_like(charges), *known)
        moved, adjoint, shift = (size * part for part in found[:3])
        adjoint = adjoint - same
        shift = shift + same if problem.held else torch.zeros_like(shift)
        by_beginning = torch.where(source, 0.0, -adjoint - shift)
        by_softness = problem.bonds.drops(adjoint) * problem.bonds.drops(slope)
        by_parameters = (-part for part in problem.form.gradients(moved, charges))
        return None, None, -moved, by_beginning, shift, by_softness, *by_parameters


class _StationaryEnergy(torch.autograd.Function):
    """χ.q + q.K q / 2 + v.L v / 2 at its minimum.

    dE/dK = q qᵀ / 2, dE/dχ = q, dE/dq⁰ = v + λ, dE/dQ = -λ, dE/dL = -v vᵀ / 2; q, v and λ keep their graph, so higher
    orders see their response.
    """

    @staticmethod
    def forward(
        ctx: Any,
        problem: BondProblem,
        charges: Tensor,
        slope: Tensor,
        multiplier: Tensor,
        energy: Tensor,
        electronegativity: Tensor,
        beginning: Tensor,
        total: Tensor,
        softness: Tensor,
        *parameters: Tensor,
    ) -> Tensor:
        ctx.problem = problem
        ctx.save_for_backward(charges, slope, multiplier)
        return energy.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,), problem = gradients, ctx.problem
        charges, slope, multiplier = ctx.saved_tensors
        by_beginning = torch.where(problem.source, 0.0, gradient * (slope + multiplier))
        by_softness = -gradient / 2 * problem.bonds.drops(slope).square()
        by_parameters = (gradient / 2 * part for part in problem.form.gradients(charges, charges))
        known = (gradient * charges, by_beginning, -gradient * multiplier)
        return None, None, None, None, None, *known, by_softness, *by_parameters
