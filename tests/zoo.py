"""Structures that every part of the package must cope with. Small, so that finite differences are quick.

Every function makes new Atoms, randomly displaced from symmetry, with the total charge in `info`.
"""

from collections.abc import Callable

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.build import molecule as known_molecule
from numpy.typing import NDArray

Zoo = dict[str, Callable[[], Atoms]]

SPECIES = (1, 6, 8, 11, 17, 47)  # all elements that occur here


def displaced(atoms: Atoms, seed: int, size: float = 0.06) -> Atoms:
    """Every coordinate moved by a normal random number, Å."""
    atoms.positions += np.random.default_rng(seed).normal(scale=size, size=atoms.positions.shape)
    return atoms


def charged(atoms: Atoms, total_charge: float) -> Atoms:
    atoms.info["total_charge"] = total_charge
    return atoms


def one_atom() -> Atoms:
    return charged(Atoms("Ag", [[0.3, -0.2, 0.5]]), 1)


def dimer() -> Atoms:
    return charged(displaced(Atoms("NaCl", [[0, 0, 0], [0, 0, 2.4]]), seed=1), 0)


def far_dimer() -> Atoms:
    """Two atoms beyond any cutoff of a test."""
    return charged(displaced(Atoms("NaCl", [[0, 0, 0], [0, 12.0, 0]]), seed=2), 0)


def water() -> Atoms:
    return charged(displaced(known_molecule("H2O"), seed=3), 0)


def ethanol() -> Atoms:
    return charged(displaced(known_molecule("CH3CH2OH"), seed=4), 0)


def hydronium() -> Atoms:
    places = [[0, 0, 0], [0.94, 0, -0.26], [-0.47, 0.81, -0.26], [-0.47, -0.81, -0.26]]
    return charged(displaced(Atoms("OH3", places), seed=5), 1)


def silver_anion() -> Atoms:
    return charged(displaced(Atoms("Ag3", [[0, 0, 0], [2.7, 0, 0], [5.3, 0.8, 0]]), seed=6), -1)


def ethanol_in_surroundings() -> Atoms:
    """With fragments, a field and external charges."""
    atoms = charged(ethanol(), 1)
    atoms.arrays["charge_fragment"] = np.array([0, 0, 1, -1, -1, -1, -1, -1, 1])
    atoms.info.update(fragment_charges=[0.5, -0.25], electric_field=[0.0, 0.1, 0.2])
    atoms.info.update(external_positions=[[5.0, 0, 0], [0, 5.0, 0]], external_charges=[1.0, -1.0])
    return atoms


def hydronium_at_a_potential() -> Atoms:
    """One proton beside an electrode of all other atoms, which decides the total charge."""
    atoms = charged(hydronium(), float("nan"))
    atoms.arrays["electrode"], atoms.arrays["charge_fragment"] = np.array([0, 0, 0, -1]), np.array([-1, -1, -1, 0])
    atoms.info.update(electrode_potentials=[-6.0], fragment_charges=[0.4])
    return atoms


def slab_in_a_field() -> Atoms:
    atoms = slab()
    normal = np.cross(*atoms.cell.array[:2])
    atoms.info["electric_field"] = 0.3 * normal / np.linalg.norm(normal)
    return atoms


def crystal_in_surroundings() -> Atoms:
    """Charged, among a point charge and a Gaussian wider than any atom, which do not neutralise it."""
    atoms = charged_crystal()
    atoms.info.update(external_positions=[[1.4, 1.2, 1.5], [-1.3, 1.6, 4.4]], external_charges=[0.7, -0.4])
    atoms.info["external_widths"] = [0.0, 2.5]
    return atoms


def slab_in_surroundings() -> Atoms:
    """With charges above, far from and inside of it."""
    atoms = slab()
    atoms.info.update(external_positions=[[1, 1, 5.5], [3, 1, -9], [1, 1, 1.4]], external_charges=[0.7, -0.4, 0.3])
    return atoms


def boxed_molecule() -> Atoms:
    """A molecule in a cell that counts for nothing, since it is periodic in no direction."""
    atoms = ethanol()
    atoms.set_cell([4.0, 4.0, 4.0])
    return atoms


def water_box() -> Atoms:
    """24 atoms, near the density of the liquid."""
    rng = np.random.default_rng(7)
    one, box = known_molecule("H2O"), Atoms(cell=[6.22, 6.22, 6.22], pbc=True)
    for corner in np.ndindex(2, 2, 2):
        turned = one.copy()
        turned.euler_rotate(*rng.uniform(0, 360, size=3), center="COM")
        turned.positions += 3.11 * np.array(corner)
        box += turned
    return charged(displaced(box, seed=8, size=0.04), 0)


def crystal() -> Atoms:
    """Triclinic, six atoms, no symmetry."""
    cell = [[5.6, 0.3, -0.4], [1.3, 5.1, 0.2], [-0.7, 0.8, 5.8]]
    places = [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5]]
    return charged(displaced(Atoms("Na3Cl3", scaled_positions=places, cell=cell, pbc=True), seed=9), 0)


def charged_crystal() -> Atoms:
    return charged(crystal(), 1)


def with_cell_vectors(combinations: list[list[int]]) -> Atoms:
    """`crystal` described by other lattice vectors: integer combinations of determinant 1 or -1."""
    atoms = crystal()
    atoms.set_cell(np.array(combinations) @ atoms.cell.array)
    return atoms


def skewed() -> Atoms:
    return with_cell_vectors([[1, 0, 0], [1, 1, 0], [-1, 1, 1]])


def permuted() -> Atoms:
    return with_cell_vectors([[0, 1, 0], [0, 0, 1], [1, 0, 0]])


def left_handed() -> Atoms:
    return with_cell_vectors([[0, 1, 0], [1, 0, 0], [0, 0, 1]])


def mirrored() -> Atoms:
    """Left-handed by the sign of one vector."""
    return with_cell_vectors([[1, 0, 0], [0, -1, 0], [0, 0, 1]])


def scattered() -> Atoms:
    """`crystal` with its atoms in other cells than the first."""
    atoms = crystal()
    shifts = np.random.default_rng(10).integers(-3, 4, size=(len(atoms), 3))
    atoms.positions += shifts @ atoms.cell.array
    return atoms


def primitive_salt() -> Atoms:
    """Two atoms in a primitive cell that is far smaller than a cutoff."""
    return charged(displaced(bulk("NaCl", "rocksalt", a=5.64), seed=11), 0)


def primitive_metal() -> Atoms:
    """One atom in a primitive fcc cell."""
    return charged(displaced(bulk("Ag", "fcc", a=4.09), seed=12), 0)


def one_atom_cell() -> Atoms:
    cell = [[2.9, 0.2, 0.1], [-0.4, 3.1, 0.3], [0.5, -0.2, 3.3]]
    return charged(Atoms("Ag", [[0.1, 0.4, -0.2]], cell=cell, pbc=True), 1)


def slab() -> Atoms:
    """Periodic in the first two directions, with lattice vectors off the axes."""
    atoms = Atoms("Na2Cl2", [[0, 0, 0], [2, 2, 2.8], [2, 0, 0], [0, 2, 2.8]], pbc=[True, True, False])
    atoms.set_cell([[3.9, 0.2, 0.3], [0.4, 4.1, -0.2], [0, 0, 0]])
    return charged(displaced(atoms, seed=13), 0)


def charged_slab() -> Atoms:
    return charged(slab(), 1)


def wire() -> Atoms:
    """Periodic in its second direction."""
    atoms = Atoms("CHC", [[0, 0, 0], [1.1, 0.2, 0.1], [0, 1.3, 0.2]], pbc=[False, True, False])
    atoms.set_cell([[0, 0, 0], [0.3, 2.6, 0.4], [9.0, 0, 0]])
    return charged(displaced(atoms, seed=14), 0)


def unequal() -> list[Atoms]:
    """Structures of different sizes, boundaries and charges for one batch."""
    return [one_atom(), water_box(), silver_anion(), charged_crystal(), ethanol(), primitive_metal()]


def rotation(seed: int = 0) -> NDArray[np.float64]:
    """A random orthogonal matrix of determinant 1."""
    matrix = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    return matrix * np.sign(np.linalg.det(matrix))


SAME_CRYSTAL: Zoo = {
    "skewed": skewed,
    "permuted": permuted,
    "left_handed": left_handed,
    "mirrored": mirrored,
    "scattered": scattered,
}
MOLECULES: Zoo = {
    "one_atom": one_atom,
    "dimer": dimer,
    "far_dimer": far_dimer,
    "water": water,
    "ethanol": ethanol,
    "hydronium": hydronium,
    "silver_anion": silver_anion,
    "boxed_molecule": boxed_molecule,
}
CRYSTALS: Zoo = {
    "water_box": water_box,
    "crystal": crystal,
    "charged_crystal": charged_crystal,
    **SAME_CRYSTAL,
    "primitive_salt": primitive_salt,
    "primitive_metal": primitive_metal,
    "one_atom_cell": one_atom_cell,
}
SLABS: Zoo = {"slab": slab, "charged_slab": charged_slab}
CHARGEABLE: Zoo = MOLECULES | CRYSTALS | SLABS
EVERYTHING: Zoo = CHARGEABLE | {"wire": wire}
