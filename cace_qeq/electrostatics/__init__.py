"""Gaussian charges: Coulomb matrices, Ewald sums and charge equilibration. Pure functions of tensors."""

from cace_qeq.conditions import Conditions
from cace_qeq.electrostatics.alone import (
    equilibrate_crystal,
    equilibrate_molecule,
    equilibrate_molecule_along_bonds,
)
from cace_qeq.electrostatics.bonds import equilibrate_bonds
from cace_qeq.electrostatics.circuit import Bonds, Circuit, Wiring, circuit_of
from cace_qeq.electrostatics.conjugate_gradients import ConvergenceError
from cace_qeq.electrostatics.constraints import Constraints, constraints_of, total_charge_alone
from cace_qeq.electrostatics.geometry import ChargeGeometry
from cace_qeq.electrostatics.given import coulomb_energy
from cace_qeq.electrostatics.kernels import Background
from cace_qeq.electrostatics.matrix import coulomb_matrix
from cace_qeq.electrostatics.potentials import along_lattice, imposed_potential
from cace_qeq.electrostatics.qeq import ChargeParameters, Equilibrium, equilibrate
from cace_qeq.electrostatics.shells import Walls, equilibrate_shells
from cace_qeq.electrostatics.single import ChargeSolution, solve_charges
from cace_qeq.electrostatics.solver import Solver, Task, find_charges

__all__ = [
    "Background",
    "Bonds",
    "ChargeGeometry",
    "ChargeParameters",
    "ChargeSolution",
    "Circuit",
    "Conditions",
    "Constraints",
    "ConvergenceError",
    "Equilibrium",
    "Solver",
    "Task",
    "Walls",
    "Wiring",
    "along_lattice",
    "circuit_of",
    "constraints_of",
    "coulomb_energy",
    "coulomb_matrix",
    "equilibrate",
    "equilibrate_bonds",
    "equilibrate_crystal",
    "equilibrate_molecule",
    "equilibrate_molecule_along_bonds",
    "equilibrate_shells",
    "find_charges",
    "imposed_potential",
    "solve_charges",
    "total_charge_alone",
]
