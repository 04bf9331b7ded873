"""From systems to files: label, split, check, write train, valid and test."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from ase import Atoms

from generate.engine import ChargeState, force_error, stress_error
from generate.frames import SPLITS, Frame, Splitter, extended_xyz, labelled
from generate.systems import (
    Stream,
    carbon_chains,
    silver_trimers,
    sodium_chloride_clusters,
    sodium_chloride_crystal,
)

SYSTEMS: dict[str, Callable[[], list[Stream]]] = {
    "ag3": silver_trimers,
    "carbon_chain": carbon_chains,
    "nacl_cluster": sodium_chloride_clusters,
    "nacl_crystal": sodium_chloride_crystal,
}
CHECKED_PER_STREAM = 2


@dataclass(frozen=True)
class Check:
    """Errors against central differences: forces in eV/Å, stress in eV/Å³ (None for a molecule)."""

    frame: str
    force_error: float
    stress_error: float | None


@dataclass(frozen=True)
class DataSet:
    """The frames of a system, in the order in which they were made, and checks on some of them."""

    name: str
    frames: list[Frame]
    checks: list[Check]

    def split(self, name: str) -> list[Frame]:
        return [frame for frame in self.frames if frame.split == name]


def planned(name: str, n_frames: int | None) -> list[Stream]:
    """The streams of a system; `n_frames` shortens each of them for a trial."""
    return [replace(s, n_frames=min(s.n_frames, n_frames or s.n_frames)) for s in SYSTEMS[name]()]


def build(name: str, streams: list[Stream], advance: Callable[[], None]) -> DataSet:
    """Label every stream and check its first frames; `advance` is called after each frame."""
    splitter = Splitter()
    frames: list[Frame] = []
    checks: list[Check] = []
    for stream in streams:
        accepted = list(islice(counted(labelled(stream.candidates, splitter), advance), stream.n_frames))
        checks += [check(frame) for frame in accepted[1 : 1 + CHECKED_PER_STREAM]]
        frames += accepted
    return DataSet(name, frames, checks)


def counted(frames: Iterator[Frame], advance: Callable[[], None]) -> Iterator[Frame]:
    for frame in frames:
        advance()
        yield frame


def check(frame: Frame) -> Check:
    atoms, state = frame.candidate.atoms, frame.candidate.state
    name = f"{atoms.get_chemical_formula('metal')}, total charge {state.total_charge} e"
    return Check(name, force_error(atoms, state), periodic_stress_error(atoms, state))


def periodic_stress_error(atoms: Atoms, state: ChargeState) -> float | None:
    return stress_error(atoms, state) if atoms.pbc.all() else None


def write(data: DataSet, folder: Path) -> None:
    """train.extxyz, valid.extxyz and test.extxyz; each appears whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in SPLITS:
        text = "".join(extended_xyz(frame) for frame in data.split(name))
        unfinished = folder / f"{name}.extxyz.part"
        unfinished.write_text(text)
        unfinished.replace(folder / f"{name}.extxyz")
