"""Structures prepared for each way of finding charges, shared by the tests of the electrostatics."""

from dataclasses import replace

import torch

from cace_qeq.electrostatics import ChargeGeometry, Equilibrium, Solver, Task, find_charges, total_charge_alone
from cace_qeq.meshing import plan_mesh
from charged_structures import ChargedStructure, crystal_pairs, geometry_of

FINE = 1e-11  # mesh accuracy that leaves nothing of the mesh in twelve digits of a charge


def meshed(structure: ChargedStructure, accuracy: float = FINE) -> ChargeGeometry:
    """Geometry of a crystal or slab, with a mesh instead of reciprocal vectors."""
    geometry = geometry_of(structure)
    plan = plan_mesh(geometry.cells[0].numpy(), len(structure.positions), float(structure.width.max()), accuracy)
    pairs = crystal_pairs(structure.positions, geometry.cells[0], plan.cutoff)
    return replace(
        geometry,
        center=pairs.center,
        neighbor=pairs.neighbor,
        shift=pairs.shift_components,
        triplets=torch.zeros(1, 0, 3, dtype=torch.int64),
        split=torch.tensor([plan.split], dtype=torch.float64),
        mesh=torch.tensor([plan.mesh]),
    )


def prepared(structure: ChargedStructure, method: str) -> ChargeGeometry:
    return meshed(structure) if method == "mesh" and structure.periodic else geometry_of(structure)


def task_of(structure: ChargedStructure, method: str) -> Task:
    geometry = prepared(structure, method)
    total_charge = torch.tensor([structure.total_charge], dtype=torch.float64)
    start = torch.zeros_like(structure.width)
    return Task(geometry, structure.parameters, total_charge_alone(geometry, total_charge), start)


def iterated(structure: ChargedStructure, method: str, background: str = "point") -> Equilibrium:
    return find_charges(task_of(structure, method), background, Solver(method, tolerance=1e-12))
