"""A zoo of charged structures and their geometries, shared by the tests of the electrostatics."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from cace_qeq.electrostatics import (
    Bonds,
    ChargeGeometry,
    ChargeParameters,
    Equilibrium,
    Wiring,
    equilibrate,
    total_charge_alone,
)
from cace_qeq.lattice import EwaldPlan, optimal_split, plan_ewald_with_split
from cace_qeq.neighbors import Pairs, pairs_once
from cace_qeq.slab import closed_cells, plan_slab

ACCURACY = 1e-13


@dataclass(frozen=True)
class ChargedStructure:
    """Positions (atom, 3), cell (3, 3) with zeros in open directions, parameters (atom,), total charge."""

    positions: Tensor
    cell: Tensor
    electronegativity: Tensor
    hardness: Tensor
    width: Tensor
    total_charge: float

    @property
    def periodic(self) -> bool:
        return bool(self.cell.any())

    @property
    def pbc(self) -> Tensor:
        return self.cell.any(dim=1)

    @property
    def parameters(self) -> ChargeParameters:
        return ChargeParameters(self.electronegativity, self.hardness, self.width)


def with_random_parameters(positions: Tensor, cell: Tensor, total_charge: float, seed: int) -> ChargedStructure:
    generator = torch.Generator().manual_seed(seed)

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(len(positions), generator=generator, dtype=torch.float64)

    return ChargedStructure(positions, cell, uniform(3, 7), uniform(8, 14), uniform(0.4, 1.1), total_charge)


def scattered(n_atoms: int, cell: Tensor, seed: int) -> Tensor:
    """Random places in a cell, far enough from each other for realistic forces."""
    generator = torch.Generator().manual_seed(seed)
    grid = torch.cartesian_prod(*[torch.arange(3, dtype=torch.float64)] * 3) / 3
    chosen = grid[torch.randperm(27, generator=generator)[:n_atoms]]
    return (chosen + 0.12 * torch.rand(n_atoms, 3, generator=generator, dtype=torch.float64)) @ cell


def molecule(n_atoms: int = 5, total_charge: float = 0.0, seed: int = 0) -> ChargedStructure:
    positions = scattered(n_atoms, 5.0 * torch.eye(3, dtype=torch.float64), seed)
    return with_random_parameters(positions, torch.zeros(3, 3, dtype=torch.float64), total_charge, seed)


def crystal(n_atoms: int = 6, total_charge: float = 0.0, seed: int = 0) -> ChargedStructure:
    cell = torch.tensor([[6.1, 0.3, -0.4], [1.5, 5.6, 0.2], [-0.8, 0.9, 6.4]], dtype=torch.float64)
    return with_random_parameters(scattered(n_atoms, cell, seed), cell, total_charge, seed)


def slab(n_atoms: int = 5, total_charge: float = 0.0, seed: int = 0) -> ChargedStructure:
    """Periodic in the first and the last direction, neither along an axis."""
    box = crystal(n_atoms, total_charge, seed)
    return replace(box, cell=box.cell * torch.tensor([[1.0], [0.0], [1.0]], dtype=torch.float64))


def geometry_of(structure: ChargedStructure, split_factor: float = 1.0) -> ChargeGeometry:
    """A geometry, with the Ewald split multiplied by a factor."""
    positions, cell = structure.positions, structure.cell
    empty = torch.zeros(0, 3, dtype=torch.int64)
    plan, pairs = EwaldPlan(1.0, 0.0, empty.numpy()), Pairs(empty[:, 0], empty[:, 0], empty)
    if structure.pbc.sum() == 2:
        plan = plan_slab(cell.numpy(), structure.pbc.numpy(), positions.numpy(), float(structure.width.max()), ACCURACY)
    cells, normal = closed_cells(cell.unsqueeze(0), structure.pbc.unsqueeze(0), torch.tensor([plan.height]))
    if structure.periodic:
        cell = cells[0]
        split = split_factor * optimal_split(float(torch.linalg.det(cell).abs()), len(positions))
        plan = plan_ewald_with_split(cell.numpy(), split, float(structure.width.max()), ACCURACY)
        pairs = crystal_pairs(positions, cell, plan.cutoff)
    return ChargeGeometry(
        positions=positions,
        cells=cells,
        periodic=torch.tensor([structure.periodic]),
        normal=normal,
        structure=torch.zeros(len(positions), dtype=torch.int64),
        center=pairs.center,
        neighbor=pairs.neighbor,
        shift=pairs.shift_components,
        triplets=torch.from_numpy(plan.triplets).unsqueeze(0),
        split=torch.tensor([plan.split], dtype=torch.float64),
        mesh=torch.tensor([plan.mesh]),
    )


def crystal_pairs(positions: Tensor, cell: Tensor, cutoff: float) -> Pairs:
    return pairs_once(positions.numpy(), cell.numpy(), np.ones(3, dtype=bool), cutoff)


def joined(geometries: list[ChargeGeometry]) -> ChargeGeometry:
    """One batch of single structures."""
    first = np.cumsum([0] + [len(geometry.positions) for geometry in geometries])
    most = max(geometry.triplets.shape[1] for geometry in geometries)
    triplets = torch.zeros(len(geometries), most, 3, dtype=torch.int64)
    for row, geometry in zip(triplets, geometries, strict=True):
        row[: geometry.triplets.shape[1]] = geometry.triplets[0]
    places = list(zip(geometries, first, strict=False))
    return ChargeGeometry(
        positions=torch.cat([geometry.positions for geometry in geometries]),
        cells=torch.cat([geometry.cells for geometry in geometries]),
        periodic=torch.cat([geometry.periodic for geometry in geometries]),
        normal=torch.cat([geometry.normal for geometry in geometries]),
        structure=torch.cat([geometry.structure + index for index, geometry in enumerate(geometries)]),
        center=torch.cat([geometry.center + int(offset) for geometry, offset in places]),
        neighbor=torch.cat([geometry.neighbor + int(offset) for geometry, offset in places]),
        shift=torch.cat([geometry.shift for geometry in geometries], dim=1),
        triplets=triplets,
        split=torch.cat([geometry.split for geometry in geometries]),
        mesh=torch.cat([geometry.mesh for geometry in geometries]),
    )


def variables_of(structure: ChargedStructure) -> tuple[Tensor, ...]:
    """Positions, strain, electronegativity, hardness, width and a total charge of 1 e, ready for derivatives."""
    values = (
        structure.positions,
        torch.zeros(3, 3, dtype=torch.float64),
        *vars(structure.parameters).values(),
        torch.ones(1, dtype=torch.float64),
    )
    return tuple(value.clone().requires_grad_() for value in values)


def strained(geometry: ChargeGeometry, strain: Tensor) -> ChargeGeometry:
    """Positions and cells times (1 + strain); one structure."""
    deformation = torch.eye(3, dtype=torch.float64) + strain
    return replace(geometry, positions=geometry.positions @ deformation, cells=geometry.cells @ deformation)


def equilibrium_of(structure: ChargedStructure, split_factor: float = 1.0, background: str = "point") -> Equilibrium:
    total_charge = torch.tensor([structure.total_charge], dtype=torch.float64)
    return at_total_charge(geometry_of(structure, split_factor), structure.parameters, total_charge, background)


def at_total_charge(
    geometry: ChargeGeometry, parameters: ChargeParameters, total_charge: Tensor, background: str = "point"
) -> Equilibrium:
    return equilibrate(geometry, parameters, total_charge_alone(geometry, total_charge), background)


def bonds_of(n_atoms, softness=0.1, seed=0):
    """Between all pairs, of unequal softness, each bond once; where they point does not matter without a field."""
    pairs = torch.triu_indices(n_atoms, n_atoms, 1)
    factors = torch.rand(pairs.shape[1], generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return Bonds(pairs[0], pairs[1], softness * factors, torch.zeros(pairs.shape[1], 3, dtype=torch.float64))


def evenly(bonds: Bonds, n_atoms: int) -> Wiring:
    """No atom is preferred for excess charge."""
    return Wiring(bonds, torch.zeros(n_atoms, 2, dtype=torch.float64))
