"""Trajectories as extended XYZ, one frame at a time; numbers are exact where a run resumes from them.

ASE's own writer keeps eight decimals, which is too few to continue a trajectory.
"""

import io
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import iread
from ase.io.extxyz import key_val_dict_to_str
from numpy.typing import NDArray

from cace_qeq.structures import CONDITION_KEYS
from cace_qeq.structures.convert.lookup import ALIASES

EXACT, SHORT, WHOLE = ".17g", ".10f", "d"
RESULTS = ("energy", "short_range_energy", "electrostatic_energy", "dipole", "stress")
VOIGT = [0, 5, 4, 5, 1, 3, 4, 3, 2]


@dataclass(frozen=True)
class Tail:
    """The last complete frame of a trajectory.

    atoms  the frame
    end    byte at which it ends; what follows was cut off while it was written
    """

    atoms: Atoms
    end: int


def frame_text(atoms: Atoms, info: dict[str, Any]) -> str:
    """One frame: positions, momenta if there are any, and the results of the attached calculator.

    info  further values of the comment line
    """
    columns = list(columns_of(atoms))
    kinds = [f"{name}:{'I' if style == WHOLE else 'R'}:{values.shape[1]}" for name, values, style in columns]
    properties = ":".join(["species:S:1", *kinds])
    cells = [texts(values, style) for _, values, style in columns]
    body = "\n".join(map(" ".join, zip(atoms.get_chemical_symbols(), *cells, strict=True)))
    return f"{len(atoms)}\n{lattice(atoms)}Properties={properties} {comment(atoms, info)}\n{body}\n"


def columns_of(atoms: Atoms) -> Iterable[tuple[str, NDArray[np.float64], str]]:
    """Name, (atom, column) values and number format of each per-atom quantity; labels of conditions included."""
    yield from ((key, atoms.arrays[key].reshape(-1, 1), WHOLE) for key in CONDITION_KEYS if key in atoms.arrays)
    yield "pos", atoms.positions, EXACT
    if atoms.has("masses"):
        yield "masses", atoms.arrays["masses"].reshape(-1, 1), EXACT
    if atoms.has("momenta"):
        yield "momenta", atoms.get_momenta(), EXACT
    for name in ("forces", "charges"):
        if name in atoms.calc.results:
            yield name, np.asarray(atoms.calc.results[name]).reshape(len(atoms), -1), SHORT


def texts(values: NDArray[np.float64], style: str) -> list[str]:
    return [" ".join(format(value, style) for value in row) for row in values.tolist()]


def lattice(atoms: Atoms) -> str:
    if not atoms.cell.any():
        return ""
    return f'Lattice="{" ".join(texts(atoms.cell.array, EXACT))}" '


def comment(atoms: Atoms, info: dict[str, Any]) -> str:
    """Of the structure's own info only the total charge and conditions, which alone are true of every frame."""
    kept = {key: atoms.info[key] for key in (*ALIASES["total_charge"], *CONDITION_KEYS) if key in atoms.info}
    results = {name: atoms.calc.results[name] for name in RESULTS if name in atoms.calc.results}
    if "stress" in results:
        results["stress"] = results["stress"][VOIGT].reshape(3, 3)
    return str(key_val_dict_to_str({**kept, **results, **info, "pbc": atoms.pbc}))


def append(path: Path, text: str) -> None:
    """Add to a file with one write, so that a crash spoils at most what is being added."""
    with path.open("ab") as file:
        file.write(text.encode())


def tail(path: Path) -> Tail:
    """Where a trajectory can go on: the last frame but for one between two intervals, at the end of a shorter run.

    Raises ValueError without a complete frame.
    """
    last, end = b"", 0
    with path.open("rb") as file:
        while frame := complete_frame(file):
            if not last or not between_intervals(frame):
                last, end = frame, file.tell()
    if not last:
        raise ValueError(f"{path} holds no complete frame to resume from; delete it and start again.")
    return Tail(next(iread(io.StringIO(last.decode()), format="extxyz")), end)


def complete_frame(file: io.BufferedIOBase) -> bytes:
    """The next frame, or nothing where the file ends or breaks off."""
    header = file.readline()
    if not header.strip().isdigit():
        return b""
    frame = b"".join([header, *(file.readline() for _ in range(int(header) + 1))])
    whole = frame.endswith(b"\n") and frame.count(b"\n") == int(header) + 2
    return frame if whole else b""


def between_intervals(frame: bytes) -> bool:
    """Whether the step is no multiple of the interval, if the frame states both."""
    found = [re.search(rb"\b" + name + rb"=(\d+)", frame) for name in (b"step", b"interval")]
    step, interval = (int(match[1]) if match else 0 for match in found)
    return interval > 0 and step % interval > 0


def cut(path: Path, end: int) -> None:
    os.truncate(path, end)
