"""Charges by the method that suits each structure of a batch."""

from dataclasses import dataclass, fields
from typing import get_args

import torch
from torch import Tensor

from cace_qeq.electrostatics.bonds import equilibrate_bonds
from cace_qeq.electrostatics.bonds_by_forms import equilibrate_bonds_by_forms
from cace_qeq.electrostatics.by_forms import equilibrate_by_forms
from cace_qeq.electrostatics.circuit import Circuit
from cace_qeq.electrostatics.conjugate_gradients import Convergence
from cace_qeq.electrostatics.constraints import Constraints
from cace_qeq.electrostatics.geometry import ChargeGeometry
from cace_qeq.electrostatics.kernels import Background
from cace_qeq.electrostatics.qeq import ChargeParameters, Equilibrium, equilibrate
from cace_qeq.electrostatics.solvers import MatrixError
from cace_qeq.lattice import LARGEST_DENSE, Method

FINEST_MESH, COARSEST_MESH = 1e-14, 0.1
LARGEST_PADDED = 100  # atoms of structures that are treated together; measured
PER_ATOM = ("charges", "potential")  # of an Equilibrium; the rest is per structure


@dataclass(frozen=True)
class Solver:
    """How charges are found: a matter of use, which no result should depend on beyond the tolerances.

    method         "dense": factorisation of the matrix;
                   "structure_factors": conjugate gradients, reciprocal vectors one by one;
                   "mesh": conjugate gradients, reciprocal space by FFT;
                   "auto": the quickest for the size of the structure.
                   Open structures have no reciprocal space: both ways of conjugate gradients sum all pairs.
    tolerance      eV/e, of the largest residual of conjugate gradients
    iterations     at most
    mesh_accuracy  error of the potential of unit charges, in units of that of one at 1 Å

    Raises ValueError for another method and numbers that no sum can keep.
    """

    method: Method = "auto"
    tolerance: float = 1e-6
    iterations: int = 200
    mesh_accuracy: float = 1e-5

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise ValueError(f"method is {self.method!r}, expected one of {', '.join(get_args(Method))}.")
        if not isinstance(self.iterations, int) or self.iterations < 0 or not self.tolerance > 0:
            raise ValueError(
                f"tolerance is {self.tolerance} eV/e, expected more than 0; iterations are {self.iterations}, expected "
                "a whole number."
            )
        if not FINEST_MESH <= self.mesh_accuracy <= COARSEST_MESH:
            raise ValueError(f"mesh_accuracy is {self.mesh_accuracy}, expected {FINEST_MESH} to {COARSEST_MESH}.")

    @property
    def until(self) -> Convergence:
        return Convergence(self.tolerance, self.iterations)


@dataclass(frozen=True)
class Task:
    """What is solved: structures, their atoms' parameters (atom,), constraints and a guess (atom,).

    circuit  that charge flows in, None where it flows freely
    """

    geometry: ChargeGeometry
    parameters: ChargeParameters
    constraints: Constraints
    start: Tensor
    circuit: Circuit | None = None

    def of(self, rows: Tensor) -> "Task":
        """Of some structures, in ascending order."""
        if len(rows) == self.geometry.n_structures:
            return self
        atoms = torch.isin(self.geometry.structure, rows).nonzero().flatten()
        parameters = ChargeParameters(*(getattr(self.parameters, f.name)[atoms] for f in fields(ChargeParameters)))
        geometry = self.geometry.of(rows, atoms)
        constraints = self.constraints.of(rows, geometry.largest)
        circuit = None if self.circuit is None else self.circuit.of(rows, atoms, geometry.largest)
        return Task(geometry, parameters, constraints, self.start[atoms], circuit)


def find_charges(task: Task, background: Background, solver: Solver) -> Equilibrium:
    """As `equilibrate`, by the method of the solver.

    Small structures are padded and treated together, where there are several of them.

    Raises ConvergenceError, MatrixError, and ValueError for a batch that was prepared for another method.
    """
    iterative = _iterative(task.geometry, solver.method)
    small = ~iterative & (task.geometry.sizes <= LARGEST_PADDED)
    together = small if small.sum() > 1 else torch.zeros_like(small)
    groups = [row.view(1) for row in (~together).nonzero().flatten()]
    if together.any():
        groups.append(together.nonzero().flatten())
    found = [_solved(task, rows, background, solver.until if iterative[rows[0]] else None) for rows in groups]
    return _merged(task.geometry, groups, found)


def _solved(task: Task, rows: Tensor, background: Background, until: Convergence | None) -> Equilibrium:
    """Of one structure, or of several that are treated together."""
    part = task.of(rows)
    try:
        if part.circuit is not None:
            return _flowing(part, part.circuit, background, until)
        if len(rows) > 1:
            return equilibrate(part.geometry, part.parameters, part.constraints, background)
        return equilibrate_by_forms(part.geometry, part.parameters, part.constraints, part.start, background, until)
    except MatrixError as error:
        raise MatrixError(int(rows[error.structure]), error.fault) from None


def _flowing(part: Task, circuit: Circuit, background: Background, until: Convergence | None) -> Equilibrium:
    """Of one structure, or of several that are treated together, along bonds."""
    if until is None:
        return equilibrate_bonds(part.geometry, part.parameters, circuit, background)
    return equilibrate_bonds_by_forms(part.geometry, part.parameters, circuit, part.start, background, until)


def _iterative(geometry: ChargeGeometry, method: Method) -> Tensor:
    """(structure,)  bool"""
    on_mesh = geometry.mesh.any(dim=1)
    if method == "auto":
        return on_mesh | (geometry.sizes > LARGEST_DENSE)
    unsuitable = geometry.periodic & (on_mesh != (method == "mesh"))
    if unsuitable.any():
        raise ValueError(
            f"structure {int(unsuitable.nonzero()[0])} of the batch was prepared for another solver than {method!r}; "
            "make the batch after choosing the solver, with the geometry of the model"
        )
    return torch.full_like(on_mesh, method != "dense")


def _merged(geometry: ChargeGeometry, groups: list[Tensor], found: list[Equilibrium]) -> Equilibrium:
    """Results of groups of structures in the order of the batch."""
    if len(found) == 1:
        return found[0]
    rows = torch.cat(groups)
    atoms = torch.cat([torch.isin(geometry.structure, group).nonzero().flatten() for group in groups])
    merged = {}
    for f in fields(Equilibrium):
        values = torch.cat([getattr(part, f.name) for part in found])
        places = atoms if f.name in PER_ATOM else rows
        merged[f.name] = torch.zeros_like(values).index_copy(0, places, values)
    return Equilibrium(**merged)
