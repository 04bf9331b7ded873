"""Charges of one structure, for other people's pipelines."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cace_qeq.conditions import Conditions, Imposed, split_pairs
from cace_qeq.electrostatics.checks import (
    Numbers,
    checked,
    checked_cell,
    checked_periodicity,
    checked_total_charge,
    require_positive,
)
from cace_qeq.electrostatics.constraints import constraints_of
from cace_qeq.electrostatics.geometry import ChargeGeometry
from cace_qeq.electrostatics.kernels import Background
from cace_qeq.electrostatics.potentials import imposed_potential
from cace_qeq.electrostatics.qeq import ChargeParameters
from cace_qeq.electrostatics.solver import Solver, Task, find_charges
from cace_qeq.impose import Boundary, impose
from cace_qeq.lattice import EwaldPlan
from cace_qeq.neighbors import Pairs, closest, pairs_once
from cace_qeq.planning import SumSettings, plan_sums
from cace_qeq.records import moved
from cace_qeq.slab import closed_cells

ACCURACY = 1e-12
OPEN = EwaldPlan(split=1.0, cutoff=0.0, triplets=np.zeros((0, 3), dtype=np.int64))
PRECISE = Solver(tolerance=1e-11, mesh_accuracy=1e-10)
FREE = Conditions()
Periodicity = bool | Sequence[bool] | NDArray[np.bool_]
BLOCK = 2**20  # distances at a time, 8 MB


@dataclass(frozen=True)
class ChargeSolution:
    """Equilibrium of one structure; tensors in float64 that carry gradients of tensor inputs.

    charges               (atom,)      e
    multiplier            ()           eV/e, λ = -dE/dQ; zero where the total charge is left open or to fragments
    fragment_multipliers  (fragment,)  eV/e, likewise
    energy                ()           eV, (χ + v).q + q.K q / 2 with v of the conditions
    """

    charges: Tensor
    multiplier: Tensor
    fragment_multipliers: Tensor
    energy: Tensor


def solve_charges(
    positions: Numbers,
    cell: Numbers | None,
    pbc: Periodicity,
    electronegativity: Numbers,
    hardness: Numbers,
    width: Numbers,
    total_charge: Numbers,
    background: Background = "point",
    solver: Solver = PRECISE,
    conditions: Conditions = FREE,
) -> ChargeSolution:
    """Charges q that minimise χ.q + q.A q / 2 + J.q² / 2 with Σ q = Q, for Gaussian charges.

    positions          (atom, 3)  Å, arrays or tensors
    cell               (3, 3)     Å, rows are lattice vectors, any handedness; those without pbc are ignored
    pbc                True, False, or three of either: none, two or three periodic directions
    electronegativity  (atom,)    eV/e, χ
    hardness           (atom,)    eV/e², J > 0
    width              (atom,)    Å, σ > 0
    total_charge       ()         e, Q; NaN leaves it to electrodes
    background         "point" or "gaussian", of a charged crystal; a slab needs none
    solver             method and tolerances; by default large structures get conjugate gradients, large crystals
                       on a mesh, and agree with the dense solution to tolerance and mesh accuracy
    conditions         fragments, electrodes, a field, external charges

    Raises ValueError for a solver or conditions of another kind, shapes that do not fit, numbers that are not finite,
    hardnesses or widths that are not positive, cells without volume, two atoms too near each other, periodicity in one
    direction, crystals and slabs too wide and flat for a neighbour list, and conditions that `impose.impose` refuses.
    Raises ConvergenceError where conjugate gradients stop short of the tolerance.
    """
    if not isinstance(solver, Solver):
        raise ValueError(f"solver is {solver!r}, expected a Solver, such as Solver('mesh')")
    if not isinstance(conditions, Conditions):
        raise ValueError(f"conditions are {conditions!r}, expected Conditions, such as Conditions(field=...)")
    coordinates = checked(positions, "positions", (None, 3))
    device = coordinates.device
    parameters = _checked_parameters(electronegativity, hardness, width, coordinates)
    charge = checked_total_charge(total_charge).to(device)
    directions = checked_periodicity(pbc)
    lattice = checked_cell(cell, directions).to(device)
    flags = torch.from_numpy(directions.copy())
    boundary = Boundary(coordinates.cpu(), lattice.cpu(), flags, float(charge.detach()))
    imposed = moved(impose(conditions, boundary), device)
    widest = float(torch.cat([parameters.width, imposed.external.width]).detach().max())
    sums = settings_of(solver, widest)
    geometry, imposed = prepared(coordinates, lattice, directions, imposed, sums, parameters.width)
    felt = parameters.electronegativity + imposed_potential(geometry, parameters.width, imposed, background)
    constraints = constraints_of(geometry, imposed, charge.view(1))
    task = Task(geometry, replace(parameters, electronegativity=felt), constraints, torch.zeros_like(felt))
    result = find_charges(task, background, solver)
    multipliers = result.multipliers[0]
    return ChargeSolution(result.charges, multipliers[0], multipliers[1:], result.energy.squeeze(0))


def _checked_parameters(
    electronegativity: Numbers, hardness: Numbers, width: Numbers, positions: Tensor
) -> ChargeParameters:
    per_atom = {"electronegativity": electronegativity, "hardness": hardness, "width": width}
    values = {name: checked(value, name, (len(positions),)).to(positions.device) for name, value in per_atom.items()}
    for name in ("hardness", "width"):
        require_positive(values[name], name)
    return ChargeParameters(**values)


def settings_of(solver: Solver, widest: float) -> SumSettings:
    return SumSettings(widest, ACCURACY, solver.method, solver.mesh_accuracy)


def prepared(
    positions: Tensor, cell: Tensor, pbc: NDArray[np.bool_], imposed: Imposed, sums: SumSettings, width: Tensor
) -> tuple[ChargeGeometry, Imposed]:
    """The atoms, and what is imposed on them, with the pairs and waves of either.

    width  (atom,)  Å, σ of their charges

    Raises ValueError for two atoms nearer than `closest` allows.
    """
    if pbc.any():
        return _periodic_geometry(positions, cell, pbc, imposed, sums, width.detach())
    return _open_geometry(positions, width.detach()), imposed


def _open_geometry(positions: Tensor, width: Tensor) -> ChargeGeometry:
    _refuse_coincident(positions.detach(), width)
    none = torch.zeros(0, 4, dtype=torch.int64, device=positions.device)
    pairs = Pairs(none[:, 0], none[:, 0], none[:, :3])
    return _one_structure(positions, positions.new_zeros(1, 3, 3), positions.new_zeros(1, 3), pairs, OPEN)


def _periodic_geometry(
    positions: Tensor, cell: Tensor, pbc: NDArray[np.bool_], imposed: Imposed, sums: SumSettings, width: Tensor
) -> tuple[ChargeGeometry, Imposed]:
    places, lattice = torch.cat([positions, imposed.external.positions]).detach(), cell.detach()
    plan = plan_sums(lattice.cpu().numpy(), pbc, places.cpu().numpy(), sums)
    flags, height = torch.from_numpy(pbc.copy()).to(cell.device).unsqueeze(0), cell.new_tensor([plan.height])
    closed, normal = closed_cells(cell.unsqueeze(0), flags, height)
    pairs = moved(pairs_once(places.cpu().numpy(), lattice.cpu().numpy(), pbc, plan.cutoff), places.device)
    center, neighbor, shift = pairs.center, pairs.neighbor, pairs.shift
    displacement = places[neighbor] - places[center] + shift.to(lattice.dtype) @ lattice
    within, across = split_pairs(center, neighbor, len(positions))
    distances = displacement[within].norm(dim=1)
    _require_places(distances, center[within], neighbor[within], width)
    pairs = Pairs(center[within], neighbor[within], shift[within])
    imposed = imposed.with_pairs(center[across], neighbor[across] - len(positions), shift[across])
    return _one_structure(positions, closed, normal, pairs, plan), imposed


def _one_structure(positions: Tensor, cells: Tensor, normal: Tensor, pairs: Pairs, plan: EwaldPlan) -> ChargeGeometry:
    """Periodic if the plan has a cutoff."""
    return ChargeGeometry(
        positions=positions,
        cells=cells,
        periodic=torch.tensor([plan.cutoff > 0], device=positions.device),
        normal=normal,
        structure=torch.zeros(len(positions), dtype=torch.int64, device=positions.device),
        center=pairs.center,
        neighbor=pairs.neighbor,
        shift=pairs.shift_components,
        triplets=torch.from_numpy(plan.triplets).to(positions.device).unsqueeze(0),
        split=positions.new_tensor([plan.split]),
        mesh=torch.tensor([plan.mesh], device=positions.device),
    )


def _refuse_coincident(positions: Tensor, width: Tensor) -> None:
    """Raise ValueError for two atoms of an open structure that `_require_places` refuses."""
    for rows in torch.arange(len(positions), device=positions.device).split(max(1, BLOCK // len(positions))):
        distances = torch.cdist(positions[rows], positions, compute_mode="donot_use_mm_for_euclid_dist")
        distances[rows - rows[0], rows] = torch.inf
        ratios = distances / closest(width[rows].unsqueeze(1), width)
        other = ratios.argmin(dim=1)
        _require_places(distances.gather(1, other.unsqueeze(1)).squeeze(1), rows, other, width)


def _require_places(distances: Tensor, first: Tensor, second: Tensor, width: Tensor) -> None:
    smallest = closest(width[first], width[second])
    if (distances < smallest).any():
        nearest = (distances / smallest).argmin()
        raise ValueError(
            f"atoms {int(first[nearest])} and {int(second[nearest])} are less than {float(smallest[nearest]):.2g} Å "
            "apart, expected every atom (and every periodic image) at a place of its own; remove duplicates, and "
            "check the cell and the units"
        )
