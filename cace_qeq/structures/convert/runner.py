"""RuNNer's input.data, the format of n2p2 and of the charge-transfer sets of Ko et al. (2021): Bohr, Hartree, e.

    begin
    comment ...
    lattice x y z                                        three of them, or none for a molecule
    atom x y z element charge unused fx fy fz
    energy E
    charge Q
    end

Source: T. W. Ko et al., Nat. Commun. 12, 398 (2021), data sets; n2p2 and RuNNer manuals, "input.data".
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from lzma import LZMAError
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from ase.io.formats import open_with_compression
from ase.units import Bohr, Hartree

LONGEST_START = 100_000  # bytes in which a file has to begin
ELEMENT = 3  # its place among the words of an atom


@dataclass
class Block:
    """The lines between begin and end, in atomic units; of an atom x, y, z, charge, unused, fx, fy, fz."""

    lattice: list[list[float]] = field(default_factory=list)
    symbols: list[str] = field(default_factory=list)
    atoms: list[list[float]] = field(default_factory=list)
    energy: float | None = None
    charge: float | None = None


def is_runner(path: Path) -> bool:
    """Whether a file, compressed or not, begins as RuNNer's do: begin is its first line that is no comment."""
    try:
        with open_with_compression(str(path), "rb") as file:
            lines = file.read(LONGEST_START).decode(errors="replace").splitlines()
    except (EOFError, OSError, LZMAError):
        return False
    return next((line.strip() for line in lines if meaningful(line)), "") == "begin"


def meaningful(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def read_runner(path: Path) -> Iterator[Atoms]:
    """Structures in Å and eV with REF_energy, REF_forces, REF_charges (e) and total_charge.

    A file in which all atomic charges are zero has none, and one in which total charges are zero too has none of these.

    raises  ValueError naming file, line and what was expected
    """
    blocks = list(read_blocks(path))
    of_atoms = any(np.any(np.array(block.atoms)[:, 3]) for block in blocks)
    total = of_atoms or any(block.charge for block in blocks)
    for block in blocks:
        yield structure(block, of_atoms=of_atoms, total=total)


def structure(block: Block, *, of_atoms: bool, total: bool) -> Atoms:
    """With charges of atoms and the total charge, or without."""
    table = np.array(block.atoms)
    cell = Bohr * np.array(block.lattice) if block.lattice else None
    atoms = Atoms(block.symbols, Bohr * table[:, :3], cell=cell, pbc=bool(block.lattice))
    atoms.arrays["REF_forces"] = Hartree / Bohr * table[:, 5:8]
    if block.energy is not None:
        atoms.info["REF_energy"] = Hartree * block.energy
    if of_atoms:
        atoms.arrays["REF_charges"] = table[:, 3].copy()
    if total and block.charge is not None:
        atoms.info["total_charge"] = block.charge + 0.0  # no minus before a zero
    return atoms


def read_blocks(path: Path) -> Iterator[Block]:
    """raises  ValueError"""
    block: Block | None = None
    line_number = 0
    with open_with_compression(str(path), "rb") as file:
        lines = file.read().decode().splitlines()
    for line_number, line in enumerate(lines, start=1):
        keyword, *words = line.split() if meaningful(line) else [""]
        where = f"{path}, line {line_number}"
        if keyword == "begin" and block is None:
            block = Block()
        elif keyword == "end" and block is not None:
            yield complete(block, where)
            block = None
        elif block is not None:
            add_line(block, keyword, words, where)
        elif keyword:
            raise ValueError(f"{where}: {keyword!r} outside of a structure, expected begin; repair the file.")
    if block is not None:
        raise ValueError(f"{path}, line {line_number}: the file ends within a structure, expected end before.")


def add_line(block: Block, keyword: str, words: list[str], where: str) -> None:
    if keyword == "atom":
        if len(words) <= ELEMENT or words[ELEMENT] not in atomic_numbers:
            raise ValueError(f"{where}: got {words}, expected x y z element charge unused fx fy fz; repair the line.")
        block.symbols.append(words.pop(ELEMENT))
        block.atoms.append(numbers(words, 8, where))
    elif keyword == "lattice":
        block.lattice.append(numbers(words, 3, where))
    elif keyword == "energy":
        (block.energy,) = numbers(words, 1, where)
    elif keyword == "charge":
        (block.charge,) = numbers(words, 1, where)
    elif keyword not in ("comment", ""):
        raise ValueError(f"{where}: {keyword!r}, expected comment, lattice, atom, energy, charge or end; repair it.")


def numbers(words: list[str], count: int, where: str) -> list[float]:
    try:
        values = [float(word) for word in words]
    except ValueError:
        values = []
    if len(values) != count or not np.isfinite(values).all():
        raise ValueError(f"{where}: expected {count} finite numbers, got {' '.join(words)!r}; repair the line.")
    return values


def complete(block: Block, where: str) -> Block:
    """raises  ValueError for a structure without atoms, or with some lattice vectors of three"""
    if not block.atoms or len(block.lattice) not in (0, 3):
        raise ValueError(
            f"{where}: a structure of {len(block.atoms)} atoms and {len(block.lattice)} lattice vectors, expected "
            "atoms and three vectors or none; repair the structure that ends here."
        )
    return block
