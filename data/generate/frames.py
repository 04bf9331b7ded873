"""Labelled frames: acceptance, extended XYZ text, splits."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from generate.engine import SinglePoint, single_point
from generate.systems import Candidate, Info

DIGITS = 5  # of positions, cells, forces and charges; labels belong to the rounded geometry
LARGEST_FORCE = 25.0  # eV/Å
SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Frame:
    """One labelled structure and the split that its group belongs to."""

    candidate: Candidate
    labels: SinglePoint
    split: str


def rounded(candidate: Candidate) -> Candidate:
    """The geometry as it will stand in the file, so that its labels are exact for what a reader gets."""
    atoms = candidate.atoms.copy()
    atoms.positions = np.round(atoms.positions, DIGITS)
    atoms.cell[:] = np.round(np.asarray(atoms.cell), DIGITS)
    return replace(candidate, atoms=atoms)


def labelled(candidates: Iterator[Candidate], splitter: "Splitter") -> Iterator[Frame]:
    """Frames of the candidates that have sound labels; the others are left out."""
    for candidate in map(rounded, candidates):
        try:
            labels = single_point(candidate.atoms, candidate.state)
        except RuntimeError:  # tblite's word for charges that do not converge
            continue
        if is_sound(labels, candidate.state.total_charge):
            yield Frame(candidate, labels, splitter.split(candidate))


def is_sound(labels: SinglePoint, total_charge: int) -> bool:
    """Charges add up, forces cancel, and none of them is extreme."""
    return bool(
        abs(labels.charges.sum() - total_charge) < 1e-4
        and np.abs(labels.forces.sum(axis=0)).max() < 5e-3
        and np.abs(labels.forces).max() < LARGEST_FORCE
    )


class Splitter:
    """Assigns splits: of every ten groups, the ninth is for validation and the tenth for testing.

    A candidate without a group of its own is counted within its config_type. Appending frames
    changes no earlier assignment.
    """

    def __init__(self) -> None:
        self.counts: Counter[int | float | str] = Counter()

    def split(self, candidate: Candidate) -> str:
        group = candidate.group
        if group is None:
            kind = candidate.info.get("config_type", "")
            group = self.counts[kind]
            self.counts[kind] += 1
        return {8: "valid", 9: "test"}.get(group % 10, "train")


def extended_xyz(frame: Frame) -> str:
    """The text of one frame, with keys REF_* and total_charge."""
    atoms, labels = frame.candidate.atoms, frame.labels
    rows = [f"{symbol} {numbers(row)}" for symbol, row in zip(atoms.symbols, table(frame), strict=True)]
    periodic = bool(atoms.pbc.all())
    header = [f'Lattice="{numbers(np.asarray(atoms.cell).reshape(-1))}"'] if periodic else []
    header += ["Properties=species:S:1:pos:R:3:REF_forces:R:3:REF_charges:R:1"]
    header += [f"REF_energy={labels.energy:.8f} total_charge={frame.candidate.state.total_charge}"]
    header += [f'REF_dipole="{numbers(labels.dipole)}"'] if labels.dipole is not None else []
    header += [f'REF_stress="{numbers(labels.stress, digits=8)}"'] if labels.stress is not None else []
    header += tags(frame.candidate.info)
    header += ['pbc="T T T"' if periodic else 'pbc="F F F"']
    return "\n".join([str(len(atoms)), " ".join(header), *rows]) + "\n"


def table(frame: Frame) -> np.ndarray:
    """(atom, 7)  position, force, charge; charges rounded so that they still add up exactly."""
    labels, total = frame.labels, frame.candidate.state.total_charge
    return np.column_stack([frame.candidate.atoms.positions, labels.forces, exact_sum(labels.charges, total)])


def exact_sum(charges: np.ndarray, total: float) -> np.ndarray:
    """Charges with DIGITS decimals whose sum is `total`: the largest remainders are rounded the other way."""
    unit = 10.0**-DIGITS
    counts = np.round(charges / unit)
    excess = round(counts.sum() - total / unit)
    remainders = (charges / unit - counts) * -np.sign(excess)
    counts[np.argsort(-remainders, kind="stable")[: abs(excess)]] -= np.sign(excess)
    return np.asarray(counts * unit)


def numbers(values: np.ndarray, digits: int = DIGITS) -> str:
    return " ".join(f"{value:.{digits}f}" for value in values)


def tags(info: Info) -> list[str]:
    return [f"{key}={value}" for key, value in info.items()]
