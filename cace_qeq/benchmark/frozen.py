"""A set of frames with a frozen split, and whether a file on disk holds them.

Labels are in eV, Å and e, under REF_energy, REF_forces, REF_charges and total_charge.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from cace_qeq.datasets import dataset as shipped
from cace_qeq.structures import read_frames

UNITS = "eV, Å, e"


@dataclass(frozen=True)
class Content:
    """What tells the frames of a file from others, whatever their order and format.

    energies      eV, mean and standard deviation
    forces        eV/Å, root mean square of components
    size          Å, root mean square distance of atoms from the middle of their frame
    charges       e, root mean square
    total_charge  e, mean
    dipole        e Å, root mean square of components
    stress        eV/Å³, root mean square of components
    edge          Å, mean cube root of the volume, 0 of frames that are not periodic
    """

    n_frames: int
    energies: tuple[float, float]
    forces: float
    size: float
    charges: float = 0.0
    total_charge: float = 0.0
    dipole: float = 0.0
    stress: float = 0.0
    edge: float = 0.0

    @classmethod
    def of(cls, path: Path) -> "Content":
        """raises  ValueError for an unreadable file, KeyError for frames without REF_energy or REF_forces"""
        frames = read_frames(path)
        energies = np.array([float(atoms.info["REF_energy"]) for atoms in frames])
        places = np.concatenate([atoms.positions - atoms.positions.mean(axis=0) for atoms in frames])
        return cls(
            len(frames),
            (float(energies.mean()), float(energies.std())),
            root_mean_square([atoms.arrays["REF_forces"] for atoms in frames]),
            math.sqrt(3) * root_mean_square([places]),
            root_mean_square([atoms.arrays.get("REF_charges", ()) for atoms in frames]),
            float(np.mean([atoms.info.get("total_charge", 0.0) for atoms in frames])),
            root_mean_square([atoms.info.get("REF_dipole", ()) for atoms in frames]),
            root_mean_square([atoms.info.get("REF_stress", ()) for atoms in frames]),
            float(np.mean([abs(np.linalg.det(atoms.cell.array)) ** (1 / 3) * atoms.pbc.any() for atoms in frames])),
        )

    def agrees(self, other: "Content") -> bool:
        """As far as files with six decimals can; other frames of the same set differ by thousands of times as much."""
        here, there = (np.hstack(astuple(one)) for one in (self, other))
        return bool(np.allclose(here, there, rtol=0, atol=1e-5))


def root_mean_square(parts: Sequence[ArrayLike]) -> float:
    """Of all numbers; 0 if there are none."""
    numbers = np.concatenate([np.ravel(part) for part in parts])
    return float(np.sqrt(np.mean(numbers**2))) if len(numbers) else 0.0


@dataclass(frozen=True)
class File:
    """Frames of a set.

    part     train, valid or test
    sha256   of the file; None for files that the package ships
    content  of a file that was written by others, and so has another sha256
    """

    part: str
    name: str
    sha256: str | None = None
    content: Content | None = None

    def is_at(self, path: Path) -> bool:
        """Whether a file is this one, or has the same frames."""
        if self.sha256 is None or hashlib.sha256(path.read_bytes()).hexdigest() == self.sha256:
            return True
        try:
            return self.content is not None and self.content.agrees(Content.of(path))
        except (ValueError, KeyError):
            return False


@dataclass(frozen=True)
class DataSet:
    """A set with its split, frozen by the checksums of its files.

    level   of theory
    source  where to download it
    split   how the files were made of the source
    box     Å, edge of the periodic cube that labels are of, where the files leave it out
    """

    name: str
    folder: str
    licence: str
    level: str
    source: str
    split: str
    files: tuple[File, ...]
    own: bool = False
    box: float = 0.0

    def home(self, data: Path) -> Path:
        return shipped(self.folder) if self.own else data / self.folder

    def paths(self, part: str, data: Path) -> tuple[Path, ...]:
        """Checked files of a part; none if the set has no such part.

        raises  FileNotFoundError naming the source; ValueError for a file that is not the one of the split
        """
        found = []
        for file in self.files:
            if file.part == part:
                path = self.home(data) / file.name
                check(self, file, path)
                found.append(path)
        return tuple(found)

    def held_out(self, data: Path) -> tuple[Path, ...]:
        """What errors are reported on: the test frames, or the validation frames of a set without."""
        return self.paths("test", data) or self.paths("valid", data)


def check(dataset: DataSet, file: File, path: Path) -> None:
    if not path.is_file():
        raise FileNotFoundError(
            f"{dataset.name}: there is no {path}; give the folder of the downloaded sets (--data), or download it "
            f"from {dataset.source}, convert it to extended xyz ({UNITS}; RuNNer's input.data by `cace-qeq convert`) "
            f"and split it: {dataset.split}."
        )
    if not file.is_at(path):
        raise ValueError(
            f"{dataset.name}: {path} is not the file that results are compared on (neither its SHA-256 nor its frames "
            f"under REF_energy and REF_forces); restore it: {dataset.source}, split: {dataset.split}."
        )
