"""Charge equilibration with hardness that depends on the charge: shells that resist being overfilled or broken into.

An atom's energy is χ q + J q² / 2 + φ(q), with a wall φ at either end of the charges that its valence shell allows:

    φ''(q) = B (1 ∓ u / √(u² + s²)) / 2 ,  u = q − q_wall ,

which is 0 far inside the wall, B far beyond it, and convex, so that one minimum remains. Linear equilibration lets
every charge move in proportion; a wall makes closed shells rigid whatever happens elsewhere, while a hole moves
between atoms that can hold it.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from cace_qeq.electrostatics.conjugate_gradients import ConvergenceError
from cace_qeq.electrostatics.geometry import ChargeGeometry
from cace_qeq.electrostatics.qeq import ChargeParameters, Equilibrium

TOLERANCE = 1e-9  # e, of the largest change in a Newton step; the two that follow square it twice
SOFT = 1.0  # e²/eV, of charges in a residual: Newton steps change them by that much however often they are repeated
LARGEST_ITERATION = 60
SMALLEST_FRACTION = 2.0**-20  # of a Newton step
ROUNDING = 1e-12  # relative, of an energy

Solve = Callable[[ChargeParameters], Equilibrium]


@dataclass(frozen=True)
class Walls:
    """Where the shells of every atom end.

    lower, upper  (atom,)  e      charges at which the atom becomes harder
    stiffness     (atom, 2)  eV/e²  B > 0 beyond the lower and the upper one
    softness      (atom,)  e      s > 0, over which the hardness changes
    """

    lower: Tensor
    upper: Tensor
    stiffness: Tensor
    softness: Tensor

    def energy(self, charges: Tensor) -> Tensor:
        """(atom,)  eV, φ up to a constant"""
        return self.gathered(ramp_energy, charges, 1.0)

    def slope(self, charges: Tensor) -> Tensor:
        """(atom,)  eV/e, φ'"""
        return self.gathered(ramp, charges, -1.0)

    def curvature(self, charges: Tensor) -> Tensor:
        """(atom,)  eV/e², φ''"""
        return self.gathered(step, charges, 1.0)

    def gathered(self, function: Callable[[Tensor, Tensor], Tensor], charges: Tensor, sign: float) -> Tensor:
        """Both walls together; the lower one is met in the direction `sign`."""
        below = function(self.lower - charges, self.softness)
        above = function(charges - self.upper, self.softness)
        return sign * self.stiffness[:, 0] * below + self.stiffness[:, 1] * above


def step(distance: Tensor, softness: Tensor) -> Tensor:
    """0 far before the wall, 1 far beyond it."""
    return (1 + distance / (distance.square() + softness.square()).sqrt()) / 2


def ramp(distance: Tensor, softness: Tensor) -> Tensor:
    """Integral of step: 0 far before the wall, the distance far beyond it."""
    return (distance + (distance.square() + softness.square()).sqrt()) / 2


def ramp_energy(distance: Tensor, softness: Tensor) -> Tensor:
    """Integral of ramp, up to a constant."""
    root = (distance.square() + softness.square()).sqrt()
    return (distance.square() + distance * root + softness.square() * torch.asinh(distance / softness)) / 4


def linearised(parameters: ChargeParameters, walls: Walls, charges: Tensor) -> ChargeParameters:
    """The quadratic energy that agrees with the true one to second order at these charges."""
    curvature = walls.curvature(charges)
    return replace(
        parameters,
        electronegativity=parameters.electronegativity + walls.slope(charges) - curvature * charges,
        hardness=parameters.hardness + curvature,
    )


@dataclass(frozen=True)
class State:
    """Charges on the way to their minimum, and what is linear in them.

    charges    (atom,)  e
    potential  (atom,)  eV/e, A q
    slope      (atom,)  eV/e, v, whose differences drive the flow along bonds
    """

    charges: Tensor
    potential: Tensor
    slope: Tensor

    @classmethod
    def of(cls, quadratic: ChargeParameters, found: Equilibrium) -> "State":
        slope = quadratic.electronegativity + quadratic.hardness * found.charges + found.potential
        return cls(found.charges, found.potential, slope)

    def towards(self, goal: "State", share: Tensor) -> "State":
        return State(*(getattr(self, f.name).lerp(getattr(goal, f.name), share) for f in fields(State)))


@dataclass(frozen=True)
class Convex:
    """What is minimised: the energy of charges between walls, and of their flow.

    parameters  χ, J and σ without the walls
    walls       of the shells
    tolerance   eV/e, of the slope where a quadratic energy counts as minimal
    """

    parameters: ChargeParameters
    walls: Walls
    tolerance: float

    def change(self, now: State, then: State) -> Tensor:
        """(atom,)  eV, parts of what the energy changes by.

        The quadratic part is the change of charges times the mean slope, so that a residual weighs as little as the
        charges change; in the energies themselves it weighs as much as the charges. So is that of flow along bonds,
        with the slope that drives it; of free charge the latter is a multiplier, and the sum zero.
        """
        charges, potential = (now.charges + then.charges) / 2, (now.potential + then.potential) / 2
        slope = self.parameters.electronegativity + self.parameters.hardness * charges + potential
        quadratic = (then.charges - now.charges) * (slope - (now.slope + then.slope) / 2)
        return quadratic + self.walls.energy(then.charges) - self.walls.energy(now.charges)


def equilibrate_shells(
    geometry: ChargeGeometry,
    solve: Solve,
    parameters: ChargeParameters,
    walls: Walls,
    tolerance: float = 0.0,
) -> Equilibrium:
    """Minimise χ.q + q.K q / 2 + Σ φ(q) under the constraints of `solve`, with the cost of flow that it knows.

    geometry    structures
    solve       the minimum of the quadratic energy for given parameters, with its derivatives
    parameters  χ, J and σ without the walls
    tolerance   eV/e, of the residual that `solve` leaves

    Newton's method finds the charges without a graph. Two more of its steps have one; theory, eq. 10b, says why.

    Raises ConvergenceError where the charges do not converge.
    """
    with torch.no_grad():
        start = converged_charges(geometry, solve, Convex(parameters, walls, tolerance))
    first = solve(linearised(parameters, walls, start)).charges
    second = solve(linearised(parameters, walls, first))
    constant = walls.energy(first) - walls.slope(first) * first + walls.curvature(first) * first.square() / 2
    return replace(second, energy=second.energy + geometry.summed(constant))


def converged_charges(geometry: ChargeGeometry, solve: Solve, problem: Convex) -> Tensor:
    """(atom,)  by Newton steps, shortened wherever the convex energy of a structure would rise."""
    now = State.of(problem.parameters, solve(problem.parameters))
    changes, enough = [], max(TOLERANCE, SOFT * problem.tolerance)
    for _ in range(LARGEST_ITERATION):
        quadratic = linearised(problem.parameters, problem.walls, now.charges)
        goal = State.of(quadratic, solve(quadratic))
        changes.append(float((goal.charges - now.charges).abs().max()))
        if changes[-1] < enough:
            return goal.charges
        now = shortened(geometry, now, goal, problem)
    history = ", ".join(f"{value:.1e}" for value in changes[-5:])
    raise ConvergenceError(
        f"charges with closed shells did not converge in {LARGEST_ITERATION} Newton steps; the last changes are "
        f"{history} e, expected below {enough:g} e. Check the structure, or train without closed_shells.",
        changes,
    )


def shortened(geometry: ChargeGeometry, now: State, goal: State, problem: Convex) -> State:
    """On the way from here to the goal, as far as the energy of each structure does not rise."""
    rounding = ROUNDING * (1 + geometry.summed(problem.walls.energy(now.charges)).abs())
    inexact = problem.tolerance * geometry.summed((goal.charges - now.charges).abs())

    def rises(fraction: Tensor) -> Tensor:
        change = problem.change(now, now.towards(goal, fraction[geometry.structure]))
        return geometry.summed(change) > rounding + fraction * inexact

    fraction = now.charges.new_ones(geometry.n_structures)
    while (rising := rises(fraction) & (fraction > SMALLEST_FRACTION)).any():
        fraction = torch.where(rising, fraction / 2, fraction)
    return now.towards(goal, fraction[geometry.structure])
