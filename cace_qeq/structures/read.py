"""Frames of a file, checked."""

from pathlib import Path

import ase.io
from ase import Atoms

from cace_qeq.structures.convert import SOURCE, check_geometry


def read_frames(path: str | Path) -> list[Atoms]:
    """All frames of a file that ASE can read; each remembers where it comes from.

    Raises FileNotFoundError, or ValueError naming the file and frame for a file that is empty, truncated, in
    another format, or holds positions or cells that cannot be used.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty; expected at least one frame.")
    frames = []
    try:
        for frame in ase.io.iread(path, index=":"):
            frames.append(frame)
    except Exception as error:  # ASE's readers raise anything from KeyError to StopIteration
        raise ValueError(
            f"{path}, frame {len(frames)}: cannot be read ({error or type(error).__name__}); "
            "the file may be truncated or in another format than its name says."
        ) from error
    if not frames:
        raise ValueError(f"{path} holds no frames.")
    for index, atoms in enumerate(frames):
        atoms.info[SOURCE] = f"{path}, frame {index}"
        check_geometry(atoms)
    return frames
