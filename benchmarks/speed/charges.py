"""Charges of boxes of water without a model: what finds them, and what they are compared with."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from ase import Atoms
from ase.build import molecule
from torch import Tensor

from cace_qeq.compilation.code import made_of, recorded
from cace_qeq.electrostatics import ChargeGeometry, ChargeParameters, Solver, Task, equilibrate_crystal, find_charges
from cace_qeq.electrostatics.constraints import total_charge_alone
from cace_qeq.neighbors import pairs_once
from cace_qeq.planning import SumSettings, plan_sums
from cace_qeq.units import COULOMB

WATER = 3.104  # Å, edge of the cube of one molecule
WIDTHS = {8: 0.66, 1: 0.31}  # Å
HARDNESSES = {8: 6.0, 1: 3.0}  # eV/e²
ELECTRONEGATIVITIES = {8: 9.0, 1: 4.0}  # eV/e
ACCURACY = 1e-6  # of sums that are compared with each other

Slopes = tuple[Tensor, ...]


def water_box(n_edge: int) -> Atoms:
    """n³ molecules near the density of the liquid, turned and displaced at random."""
    rng, one = np.random.default_rng(0), molecule("H2O")
    box = Atoms(cell=[WATER * n_edge] * 3, pbc=True)
    places, numbers = [], []
    for corner in np.ndindex(n_edge, n_edge, n_edge):
        turned = one.copy()
        turned.euler_rotate(*rng.uniform(0, 360, 3), center="COM")
        places.append(turned.positions + WATER * np.array(corner) + rng.normal(scale=0.1, size=3))
        numbers.extend(one.numbers)
    return Atoms(numbers, np.concatenate(places), cell=box.cell, pbc=True)


def charged(
    n_edge: int, method: str, accuracy: float = ACCURACY, mesh_accuracy: float = Solver().mesh_accuracy
) -> tuple[ChargeGeometry, ChargeParameters]:
    atoms = water_box(n_edge)
    settings = SumSettings(max(WIDTHS.values()), accuracy, method, mesh_accuracy)
    plan = plan_sums(atoms.cell.array, atoms.pbc, atoms.positions, settings)
    pairs = pairs_once(atoms.positions, atoms.cell.array, atoms.pbc, plan.cutoff)
    geometry = ChargeGeometry(
        positions=torch.from_numpy(atoms.positions),
        cells=torch.from_numpy(atoms.cell.array).unsqueeze(0),
        periodic=torch.tensor([True]),
        normal=torch.zeros(1, 3, dtype=torch.float64),
        structure=torch.zeros(len(atoms), dtype=torch.int64),
        center=pairs.center,
        neighbor=pairs.neighbor,
        shift=pairs.shift_components,
        triplets=torch.from_numpy(plan.triplets).unsqueeze(0),
        split=torch.tensor([plan.split], dtype=torch.float64),
        mesh=torch.tensor([plan.mesh]),
    )
    tables = (ELECTRONEGATIVITIES, HARDNESSES, WIDTHS)
    per_atom = [torch.tensor([table[z] for z in atoms.numbers], dtype=torch.float64) for table in tables]
    return geometry, ChargeParameters(*per_atom)


def charge_energy(n_edge: int, method: str, accuracy: float = ACCURACY) -> Callable[[], Slopes]:
    """Charges and energy, and what is returned: its derivatives by positions, strain and electronegativities."""
    geometry, parameters = charged(n_edge, method, accuracy)

    def run() -> Slopes:
        positions, strain, chi = leaves(geometry.positions, parameters.electronegativity)
        cells = geometry.cells @ (torch.eye(3, dtype=torch.float64) + strain)
        moved = replace(geometry, positions=positions + positions @ strain, cells=cells)
        constraints = total_charge_alone(moved, torch.zeros(1, dtype=torch.float64))
        task = Task(moved, replace(parameters, electronegativity=chi), constraints, torch.zeros_like(chi))
        found = find_charges(task, "point", Solver(method))
        return torch.autograd.grad(found.energy.sum(), [positions, strain, chi])

    return run


def generated_charge_energy(n_edge: int, accuracy: float = ACCURACY) -> Callable[[], Slopes]:
    """The same by generated code, from a matrix."""
    geometry, parameters = charged(n_edge, "dense", accuracy)
    names = "center", "neighbor", "shift", "triplets", "split"
    tables = [getattr(geometry, name) for name in names]
    given = geometry.positions, geometry.cells, *vars(parameters).values(), *tables

    def run(positions: Tensor, cells: Tensor, chi: Tensor, hardness: Tensor, width: Tensor, *tables: Tensor) -> Slopes:
        place, strain, chi = leaves(positions, chi)
        deformation = torch.eye(3, dtype=torch.float64) + strain
        sums = replace(geometry, **dict(zip(names, tables, strict=True)))
        moved = replace(sums, positions=place @ deformation, cells=cells @ deformation)
        neutral = torch.zeros(1, dtype=torch.float64)
        found, _ = equilibrate_crystal(moved, ChargeParameters(chi, hardness, width), neutral)
        return torch.autograd.grad(found.energy.sum(), [place, strain, chi])

    code = made_of(recorded(run, *given), given)
    return lambda: code(*given)


def leaves(positions: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    strain = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    return positions.clone().requires_grad_(), strain, values.clone().requires_grad_()


def reciprocal_sum(n_edge: int, shortest: float = 2.0) -> Callable[[], Slopes]:
    """Energy of given charges by `latent_ewald`, and its derivatives."""
    geometry, _ = charged(n_edge, "mesh")
    given = torch.randn(len(geometry.positions), dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def run() -> Slopes:
        positions, strain, charges = leaves(geometry.positions, given)
        cell = geometry.cells[0] @ (torch.eye(3, dtype=torch.float64) + strain)
        energy = latent_ewald(positions + positions @ strain, cell, charges, shortest)
        return torch.autograd.grad(energy, [positions, strain, charges])

    return run


def latent_ewald(positions: Tensor, cell: Tensor, charges: Tensor, shortest: float) -> Tensor:
    """Reciprocal sum of given charges of one width (1 Å), to the shortest waves (Å); nothing in real space."""
    inverse, counts = torch.linalg.inv(cell), [int(n) for n in cell.detach().norm(dim=1) / shortest]
    grid = torch.cartesian_prod(*[torch.arange(-n, n + 1, dtype=cell.dtype) for n in counts])
    vectors = 2 * math.pi * grid[len(grid) // 2 + 1 :] @ inverse.T
    squared = vectors.square().sum(1)
    kept = squared <= (2 * math.pi / shortest) ** 2
    waves = torch.exp(1j * (positions @ vectors[kept].T))
    density = (charges.unsqueeze(1) * waves).sum(0).abs().square()
    weights = (-squared[kept] / 2).exp() / squared[kept]
    return 4 * math.pi * COULOMB / torch.linalg.det(cell) * (weights * density).sum()
