"""Quantum-mechanical labels from tblite: GFN1-xTB energies, forces, stress, charges and dipoles."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.units import Bohr, Hartree
from numpy.typing import NDArray
from tblite.interface import Calculator as TightBinding
from tblite.library import ffi

METHOD = "GFN1-xTB"
ACCURACY = 0.1  # of the self-consistent charges, in tblite's unit; ten times tighter than its default
MAX_ITERATIONS = 300

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ChargeState:
    """Total charge (e) and number of unpaired electrons."""

    total_charge: int
    unpaired: int = 0


@dataclass(frozen=True)
class SinglePoint:
    """Labels of one structure; the dipole is None in a crystal, the stress None in a molecule.

    energy   eV
    forces   (atom, 3)  eV/Å
    charges  (atom,)    e      Mulliken
    dipole   (3,)       e Å    about the centre of mass
    stress   (6,)       eV/Å³  xx yy zz yz xz xy, +dE/dstrain/V
    """

    energy: float
    forces: Array
    charges: Array
    dipole: Array | None
    stress: Array | None


def single_point(atoms: Atoms, state: ChargeState, field: Sequence[float] | None = None) -> SinglePoint:
    """GFN1-xTB labels; crystals at the Γ point.

    field  (3,)  V/Å, uniform, for molecules

    raises RuntimeError of tblite if the charges do not converge.
    """
    periodic = bool(atoms.pbc.all())
    lattice = np.asarray(atoms.cell) / Bohr if periodic else None
    calculator = TightBinding(
        METHOD,
        atoms.numbers,
        atoms.positions / Bohr,
        float(state.total_charge),
        state.unpaired,
        lattice,
        np.full(3, periodic),
    )
    for name, value in (("verbosity", 0), ("accuracy", ACCURACY), ("max-iter", MAX_ITERATIONS)):
        calculator.set(name, value)
    if field is not None:  # a pointer, as tblite 0.8's own conversion of arrays fails
        calculator.add("electric-field", ffi.new("double[3]", [value * Bohr / Hartree for value in field]))
    result = calculator.singlepoint()
    return SinglePoint(
        energy=float(result.get("energy")) * Hartree,
        forces=-result.get("gradient") * Hartree / Bohr,
        charges=np.asarray(result.get("charges")),
        dipole=None if periodic else centred_dipole(atoms, result.get("dipole") * Bohr, state.total_charge),
        stress=voigt(result.get("virial") * Hartree / atoms.get_volume()) if periodic else None,
    )


def centred_dipole(atoms: Atoms, dipole: Array, total_charge: int) -> Array:
    """A dipole about the origin, moved to the centre of mass."""
    return np.asarray(dipole - total_charge * atoms.get_center_of_mass())


def voigt(stress: Array) -> Array:
    """(3, 3) -> (6,)  xx yy zz yz xz xy."""
    return np.array([stress[x, y] for x, y in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))])


class TightBindingCalculator(Calculator):
    """The same engine for ASE's relaxations."""

    implemented_properties = ["energy", "forces"]

    def __init__(self, state: ChargeState):
        super().__init__()
        self.state = state

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        labels = single_point(self.atoms, self.state)
        self.results = {"energy": labels.energy, "forces": labels.forces}


def force_error(atoms: Atoms, state: ChargeState, *, n_components: int = 4, step: float = 0.005) -> float:
    """Largest |F + dE/dx| over random components, by central differences, eV/Å."""
    forces = single_point(atoms, state).forces.reshape(-1)
    chosen = np.random.default_rng(0).choice(forces.size, n_components, replace=False)
    return max(abs(forces[i] + energy_slope(atoms, state, int(i), step)) for i in chosen)


def energy_slope(atoms: Atoms, state: ChargeState, component: int, step: float) -> float:
    """dE/dx of one flattened coordinate, eV/Å."""
    up, down = (single_point(displaced(atoms, component, s * step), state).energy for s in (1, -1))
    return (up - down) / (2 * step)


def displaced(atoms: Atoms, component: int, step: float) -> Atoms:
    """A copy with one flattened coordinate moved by `step` Å."""
    copy = atoms.copy()
    copy.positions.reshape(-1)[component] += step
    return copy


def stress_error(atoms: Atoms, state: ChargeState, *, step: float = 1e-3) -> float:
    """Largest error of the xx and xy stress against central differences in strain, eV/Å³."""
    stress = single_point(atoms, state).stress
    if stress is None:
        raise ValueError("a molecule has no stress; give a structure with pbc=True")
    directions = ((0, np.outer([1, 0, 0], [1, 0, 0])), (5, np.outer([1, 0, 0], [0, 1, 0])))
    slopes = [(stress[i], strain_slope(atoms, state, (d + d.T) / 2, step)) for i, d in directions]
    return max(abs(analytic - slope) for analytic, slope in slopes)


def strain_slope(atoms: Atoms, state: ChargeState, direction: Array, step: float) -> float:
    """dE/dstrain/V along a symmetric strain, eV/Å³."""
    energies = []
    for sign in (1, -1):
        strained = atoms.copy()
        strained.set_cell(np.asarray(atoms.cell) @ (np.eye(3) + sign * step * direction), scale_atoms=True)
        energies.append(single_point(strained, state).energy)
    return (energies[0] - energies[1]) / (2 * step * float(atoms.get_volume()))
