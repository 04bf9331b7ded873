"""What scripts share: where results lie, where downloaded sets are found, and names on the command line."""

import io
import json
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import typer
from ase import Atoms
from ase.io import write

from cace_qeq.benchmark import record
from cace_qeq.files import write_atomically
from cace_qeq.training.provenance import commit

RESULTS = Path(__file__).parent / "results"
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def write_result(name: str, content: dict[str, Any]) -> Path:
    """results/NAME.json, replaced whole."""
    path = RESULTS / f"{name}.json"
    record.write_result(path, content)
    return path


def write_table(name: str, text: str) -> None:
    """results/NAME.md, replaced whole."""
    write_atomically(RESULTS / f"{name}.md", text.encode())


def write_structures(path: Path, frames: list[Atoms]) -> None:
    """Extended XYZ, replaced whole."""
    text = io.StringIO()
    write(text, frames, format="extxyz")
    write_atomically(path, text.getvalue().encode())


def read_result(name: str) -> dict[str, Any] | None:
    """What results/NAME.json holds, if the same commit wrote it, without other changes."""
    path = RESULTS / f"{name}.json"
    if not path.is_file():
        return None
    found: dict[str, Any] = json.loads(path.read_text())
    known = commit()
    same = known is not None and not known.endswith("-dirty") and found["machine"]["commit"] == known
    return found if same else None


def refuse_unknown(names: list[str], known: Collection[str]) -> None:
    """raises  ValueError, before anything has begun"""
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"there is no {', '.join(unknown)}; choose from {', '.join(known)}.")


def script(main: Callable[..., None]) -> None:
    """A script by its command line; what is wrong with its input is one line."""
    try:
        typer.run(main)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
