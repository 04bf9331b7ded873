"""Trajectories as extended XYZ, one frame at a time; numbers are exact where a run resumes from them.

ASE's own writer keeps eight decimals, which is too few to continue a trajectory.
"""

import io
import os
import re
from collections.abc import Container, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms, FixCartesian
from ase.io import iread
from ase.io.extxyz import key_val_dict_to_str
from numpy.typing import NDArray

from cace_qeq.checkpoint import mark
from cace_qeq.committee import Committee
from cace_qeq.files import naming
from cace_qeq.model import CACEQEq
from cace_qeq.structures import CONDITION_KEYS, MODEL
from cace_qeq.structures.convert.frames import EXTENDED_XYZ
from cace_qeq.structures.convert.lookup import ALIASES

WRITTEN = (FixAtoms, FixCartesian)  # constraints, as columns that say what is held
EXACT, SHORT, WHOLE, LOGICAL = ".17g", ".10f", "d", ""
KINDS = {WHOLE: "I", LOGICAL: "L"}  # R otherwise
RESULTS = ("energy", "energy_spread", "short_range_energy", "electrostatic_energy", "dipole", "stress")
VOIGT = [0, 5, 4, 5, 1, 3, 4, 3, 2]


def named_as_xyz(path: Path) -> Path:
    """Raise ValueError for another format's name."""
    if path.suffix not in EXTENDED_XYZ:
        raise ValueError(f"{path} is no name for extended XYZ; give one that ends in {' or '.join(EXTENDED_XYZ)}.")
    return path


@dataclass(frozen=True)
class Tail:
    """The last frame of a trajectory to go on from.

    atoms        the frame
    end          byte at which it ends
    n_frames     up to there
    newest_step  of all complete frames, this one or one behind it
    """

    atoms: Atoms
    end: int
    n_frames: int
    newest_step: int


def mark_of(atoms: Atoms) -> dict[str, str]:
    """What tells that results are those of a model of this package, and of which; nothing of other calculators."""
    model = getattr(atoms.calc, "model", None)
    return {MODEL: mark(model)} if isinstance(model, CACEQEq | Committee) else {}


def unwritten_constraints(atoms: Atoms) -> str:
    """Names of constraints of the kinds that files do not know."""
    return ", ".join(sorted(type(one).__name__ for one in atoms.constraints if not isinstance(one, WRITTEN)))


def frame_text(atoms: Atoms, info: dict[str, Any]) -> str:
    """One frame: positions, momenta if there are any, and the results of the attached calculator.

    info  further values of the comment line
    """
    columns = list(columns_of(atoms))
    kinds = [f"{name}:{KINDS.get(style, 'R')}:{values.shape[1]}" for name, values, style in columns]
    properties = ":".join(["species:S:1", *kinds])
    cells = [texts(values, style) for _, values, style in columns]
    body = "\n".join(map(" ".join, zip(atoms.get_chemical_symbols(), *cells, strict=True)))
    return f"{len(atoms)}\n{lattice(atoms)}Properties={properties} {comment(atoms, info)}\n{body}\n"


def columns_of(atoms: Atoms) -> Iterable[tuple[str, NDArray[Any], str]]:
    """Name, (atom, column) values and format of each per-atom quantity, of conditions and of what is held too."""
    yield "pos", atoms.positions, EXACT
    if atoms.has("tags"):
        yield "tags", atoms.arrays["tags"].reshape(-1, 1), WHOLE
    yield from ((key, atoms.arrays[key].reshape(-1, 1), WHOLE) for key in CONDITION_KEYS if key in atoms.arrays)
    if (holds := held(atoms)).any():
        whole = (holds.all(axis=1) | ~holds.any(axis=1)).all()
        yield "move_mask", ~holds[:, :1] if whole else ~holds, LOGICAL
    if atoms.has("masses"):
        yield "masses", atoms.arrays["masses"].reshape(-1, 1), EXACT
    if atoms.has("momenta"):
        yield "momenta", atoms.get_momenta(), EXACT
    for name in ("forces", "forces_spread", "charges"):
        if name in atoms.calc.results:
            yield name, np.asarray(atoms.calc.results[name]).reshape(len(atoms), -1), SHORT


def held(atoms: Atoms) -> NDArray[np.bool_]:
    """(atom, 3)  whether a constraint of the kinds that files know, FixAtoms or FixCartesian, holds a coordinate"""
    holds = np.zeros((len(atoms), 3), dtype=bool)
    for constraint in atoms.constraints:
        if isinstance(constraint, FixAtoms):
            holds[constraint.index] = True
        elif isinstance(constraint, FixCartesian):
            holds[constraint.index] |= constraint.mask
    return holds


def texts(values: NDArray[Any], style: str) -> list[str]:
    return [" ".join(format(value, style) for value in row) for row in values.tolist()]


def lattice(atoms: Atoms) -> str:
    if not atoms.cell.any():
        return ""
    return f'Lattice="{" ".join(texts(atoms.cell.array, EXACT))}" '


def comment(atoms: Atoms, info: dict[str, Any]) -> str:
    """Of the structure's own info its type, the total charge and conditions, which alone are true of every frame."""
    lasting = ("config_type", *ALIASES["total_charge"], *CONDITION_KEYS)
    kept = {key: atoms.info[key] for key in lasting if key in atoms.info}
    results = {name: atoms.calc.results[name] for name in RESULTS if name in atoms.calc.results}
    if "stress" in results:
        results["stress"] = results["stress"][VOIGT].reshape(3, 3)
    return str(key_val_dict_to_str({**kept, **results, **info, "pbc": atoms.pbc}))


def append(path: Path, text: str) -> None:
    """Add to a file with one write, so that a crash spoils at most what is being added.

    Raises OSError that names the file.
    """
    with naming(path), path.open("ab") as file:
        file.write(text.encode())


def tail(path: Path, logged: Container[int]) -> Tail:
    """Where a trajectory can go on: the last frame whose step is logged, but for one between two intervals, at the end
    of a shorter run.

    logged  steps that the log knows; a machine that stops may have kept more of either file

    Raises ValueError without a complete frame, and for damage: only at the end of a file may a frame break off.
    """
    last, end, newest, whole, n_frames, count = b"", 0, b"", 0, 0, 0
    with path.open("rb") as file:
        while (frame := complete_frame(file)) and (not newest or count_of(frame) == count_of(newest)):
            newest, whole, count = frame, file.tell(), count + 1
            if stated(frame, b"step") in logged and (not last or not between_intervals(frame)):
                last, end, n_frames = frame, whole, count
        file.seek(whole)
        rest = file.read()
    if newest and not breaks_off(rest, newest):
        raise ValueError(
            f"{path} is damaged at byte {whole}, where a frame of as many atoms as the others should begin; repair it, "
            "cut off what follows, or start a new run."
        )
    if not last:
        raise ValueError(f"{path} holds no complete frame that its log knows; delete both and start again.")
    try:
        atoms = next(iread(io.StringIO(last.decode()), format="extxyz"))
    except Exception as error:  # ASE's reader raises whatever it stumbles over
        raise ValueError(
            f"{path}: the frame that ends at byte {end} cannot be read ({error}); cut it and what follows off, or "
            "start a new run."
        ) from error
    return Tail(atoms, end, n_frames, stated(newest, b"step"))


def complete_frame(file: io.BufferedIOBase) -> bytes:
    """The next frame, or nothing where the file ends or breaks off."""
    header = file.readline()
    if not header.strip().isdigit():
        return b""
    frame = b"".join([header, *(file.readline() for _ in range(int(header) + 1))])
    whole = frame.endswith(b"\n") and frame.count(b"\n") == int(header) + 2
    return frame if whole else b""


def breaks_off(rest: bytes, frame: bytes) -> bool:
    """Whether what stands behind the last complete frame is the beginning of one more of that kind, or nothing."""
    header, written, body = rest.partition(b"\n")
    if not written:
        return count_of(frame).startswith(header)
    return header == count_of(frame) and body.count(b"\n") < frame.count(b"\n") - 1


def count_of(frame: bytes) -> bytes:
    """The first line, which says how many atoms follow."""
    return frame.partition(b"\n")[0]


def between_intervals(frame: bytes) -> bool:
    """Whether the step is no multiple of the interval, if the frame states both."""
    interval = stated(frame, b"interval")
    return interval > 0 and stated(frame, b"step") % interval > 0


def stated(frame: bytes, name: bytes) -> int:
    """A whole number of the comment line; zero without."""
    match = re.search(rb"\b" + name + rb"=(\d+)", frame)
    return int(match[1]) if match else 0


def cut(path: Path, end: int) -> None:
    os.truncate(path, end)
