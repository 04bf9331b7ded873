"""Files of structures: reading them, checking them, and naming the place of a mistake."""

from collections.abc import Iterator, Sequence
from lzma import LZMAError
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.db import connect
from ase.io import iread
from ase.io.extxyz import key_val_str_to_dict
from ase.io.formats import open_with_compression

from cace_qeq.structures.convert.runner import is_runner, read_runner

SOURCE = "cace_qeq_source"  # the key in atoms.info under which a frame remembers where it was read
MODEL = "cace_qeq_model"  # and the fingerprint of the model that predicted its results
EXTENDED_XYZ = (".extxyz", ".xyz")
COMPRESSED = (".gz", ".bz2", ".xz")
DATABASES = (".db", ".json")  # of ASE
OF_A_STRUCTURE = ("dipole", "stress", "virial", "field", "external_", "fragment_charges", "potentials")
"""As names of data say, whose shapes may be those of a few atoms."""
SMALLEST_VOLUME = 1e-8  # of a cell, relative to that of a rectangular one with the same lengths


class MissingFileError(FileNotFoundError, ValueError):
    """A file of structures that does not exist."""


def read_frames(path: str | Path) -> list[Atoms]:
    """All structures of a file, in any format that ASE reads or RuNNer's; extended xyz is checked for truncation.

    Each keeps its place in info["cace_qeq_source"], which errors name.

    raises  ValueError naming file, frame and atom: a missing, empty, truncated or unreadable file, and
            structures that `check_atoms` refuses
    """
    path = Path(path)
    refuse_missing(path)
    frames = list(read_runner(path)) if not is_xyz(path) and is_runner(path) else read_by_ase(path)
    if not frames:
        raise ValueError(f"{path}: no structures found; expected one frame or more.")
    for index, atoms in enumerate(frames):
        atoms.info[SOURCE] = f"{path}, frame {index}"
        check_atoms(atoms)
    return frames


def read_by_ase(path: Path) -> list[Atoms]:
    form = None
    if is_xyz(path):
        form = "extxyz"
        refuse_incomplete(path)
    frames: list[Atoms] = []
    try:
        if path.suffix in DATABASES:
            frames.extend(rows_of(path))
        else:
            frames.extend(iread(path, index=":", format=form, do_not_split_by_at_sign=True))
    except Exception as error:  # ASE's readers raise whatever they stumble over
        raise ValueError(
            f"{path}, frame {len(frames)}: ASE cannot read it ({type(error).__name__}: {error}); repair the "
            "frame or write the file again as extended xyz."
        ) from error
    return frames


def rows_of(path: Path) -> Iterator[Atoms]:
    """A database, with the key-value pairs and the data that ASE's own reader drops."""
    with connect(path, serial=True) as database:
        for row in database.select():
            atoms = row.toatoms()
            atoms.info |= row.key_value_pairs
            for key, value in row.data.items():
                per_atom = np.shape(value)[:1] == (len(atoms),) and not any(word in key for word in OF_A_STRUCTURE)
                (atoms.arrays if per_atom else atoms.info)[key] = np.asarray(value)
            yield atoms


def is_xyz(path: Path) -> bool:
    """By its name, which may end as that of a compressed file does."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    while suffixes and suffixes[-1] in COMPRESSED:
        suffixes.pop()
    return bool(suffixes) and suffixes[-1] in EXTENDED_XYZ


def place(atoms: Atoms) -> str:
    """Which structure an error is about: "file.extxyz, frame 17", or the formula of one that was not read."""
    return str(atoms.info.get(SOURCE, atoms.get_chemical_formula()))


def check_atoms(atoms: Atoms) -> None:
    """Raise ValueError for what no model can use, TypeError for what is no structure.

    That is no atoms, an atom without element, positions that are not finite, periodicity without a cell.
    """
    if not isinstance(atoms, Atoms):
        raise TypeError(f"a {type(atoms).__name__} was given for a structure, expected ase.Atoms.")
    if len(atoms) == 0:
        raise ValueError(f"{place(atoms)}: no atoms; remove the frame.")
    if not atoms.numbers.all():
        atom = int(np.argmin(atoms.numbers != 0))
        raise ValueError(f"{place(atoms)}, atom {atom}: no element (X); give its symbol or remove the atom.")
    finite = np.isfinite(atoms.positions).all(axis=1)
    if not finite.all():
        atom = int(np.argmin(finite))
        raise ValueError(
            f"{place(atoms)}, atom {atom}: position {atoms.positions[atom].tolist()} Å, expected finite "
            "numbers; repair or remove the frame."
        )
    if atoms.pbc.any():
        check_cell(atoms)


def check_cell(atoms: Atoms) -> None:
    """Raise ValueError unless the vectors of the periodic directions are independent."""
    vectors = atoms.cell.array[atoms.pbc]
    rectangular = float(np.prod(np.linalg.norm(vectors, axis=1)))
    spanned = float(np.sqrt(max(np.linalg.det(vectors @ vectors.T), 0.0)))
    if not spanned > SMALLEST_VOLUME * rectangular:  # the negation also catches NaN
        raise ValueError(
            f"{place(atoms)}: pbc is {atoms.pbc.tolist()}, but the cell {atoms.cell.array.tolist()} has no "
            "volume along those directions, expected independent lattice vectors; give a cell, or "
            'pbc="F F F" for a molecule.'
        )


def refuse_missing(path: Path) -> None:
    if not path.is_file():
        raise MissingFileError(f"{path}: no such file; check the path (relative ones start at {Path.cwd()}).")
    if path.stat().st_size == 0:
        raise ValueError(f"{path}: the file is empty, expected one structure or more.")


def refuse_incomplete(path: Path) -> None:
    """Raise ValueError unless an xyz file consists of whole frames.

    ASE stops at the first blank line and is silent about what follows.
    """
    try:
        with open_with_compression(str(path), "r") as file:
            lines = file.read().split("\n")  # and at nothing else, as ASE does
    except (UnicodeDecodeError, EOFError, OSError, LZMAError) as error:
        raise ValueError(f"{path}: not a text file ({error}); expected extended xyz.") from error
    while lines and not lines[-1].strip():
        lines.pop()
    for frame, (line, expected) in enumerate(frame_starts(lines, path)):
        rows = lines[line + 2 : line + 2 + expected]
        if len(rows) < expected:
            raise ValueError(
                f"{path}, frame {frame}: {len(rows)} atoms, expected {expected} as line {line + 1} says; "
                "the file is truncated. Write it again or remove the last frame."
            )
        refuse_other_columns(lines[line + 1], rows, f"{path}, frame {frame}")


def refuse_other_columns(comment: str, rows: Sequence[str], where: str) -> None:
    """Raise ValueError where a row has another number of columns than `Properties` says; ASE would read it shifted."""
    try:
        stated = str(key_val_str_to_dict(comment).get("Properties", "")) if "Properties" in comment else ""
    except Exception as error:  # ASE's parser raises whatever it stumbles over
        raise ValueError(f"{where}: ASE cannot read the comment line ({error}); correct it.") from error
    counts = stated.split(":")[2::3]
    if not counts or not all(count.isdecimal() for count in counts):
        return
    expected = sum(map(int, counts))
    for atom, row in enumerate(rows):
        if len(row.split()) != expected:
            raise ValueError(
                f"{where}, atom {atom}: {len(row.split())} columns, expected {expected} as Properties says; correct "
                "one of them."
            )


def frame_starts(lines: list[str], path: Path) -> Iterator[tuple[int, int]]:
    """Line and number of atoms of every frame of an xyz file."""
    line, frame = 0, 0
    while line < len(lines):
        word = lines[line].strip()
        if not word.isdecimal():
            raise ValueError(
                f"{path}, frame {frame}: line {line + 1} is {lines[line][:40]!r}, expected the number of "
                "atoms of the next frame; the frame before it has too few or too many lines."
            )
        if int(word) == 0:
            raise ValueError(f"{path}, frame {frame}: no atoms, as line {line + 1} says; remove the frame.")
        yield line, int(word)
        line += 2 + int(word)
        frame += 1
        while line < len(lines) and lines[line].lstrip().startswith("VEC"):
            line += 1
