"""Nested subsets of training frames, as files."""

import random
from pathlib import Path

from ase import Atoms

from cace_qeq.structures import read_frames
from cace_qeq.structures.convert.frames import SOURCE
from cace_qeq.training import TrainConfig
from record import write_structures
from variants.changes import Change


def on_subset(config: TrainConfig, percent: float) -> tuple[Change, int]:
    """The change that trains on a share of the frames, and how many these are; their file lies beside the output.

    raises  ValueError for a share outside of (0, 100]
    """
    frames, chosen = divided(config, percent)
    path = written(config, f"{percent:g}percent", [frames[index] for index in chosen])
    return data(train=[path]), len(chosen)


def rest_held_out(config: TrainConfig, percent: float) -> Change:
    """The change that trains on a share of the frames and tests on the others: no test frame of the set is seen.

    raises  ValueError for a share outside of (0, 100], and for one that leaves none
    """
    frames, chosen = divided(config, percent)
    rest = sorted(set(range(len(frames))) - set(chosen))
    if not rest:
        raise ValueError(f"{percent:g} percent of {len(frames)} training frames leave none to test on; take fewer.")
    parts = {"percent": chosen, "percent_rest": rest}
    train, test = (written(config, f"{percent:g}{name}", [frames[i] for i in part]) for name, part in parts.items())
    return data(train=[train], test=[test])


def divided(config: TrainConfig, percent: float) -> tuple[list[Atoms], list[int]]:
    """All training frames, and which of them a share takes."""
    if not 0 < percent <= 100:
        raise ValueError(f"{percent} percent of the training frames, expected more than 0 and at most 100.")
    frames = [atoms for path in config.data.train for atoms in read_frames(path)]
    return frames, nested(len(frames), percent)


def written(config: TrainConfig, name: str, frames: list[Atoms]) -> str:
    """The path of a file with these frames, beside the output."""
    path = Path(f"{config.training.output}_{name}.extxyz")
    write_structures(path, [without_source(atoms) for atoms in frames])
    return str(path)


def data(**parts: list[str]) -> Change:
    """Other files."""
    return lambda values: {**values, "data": {**values["data"], **parts}}


def without_source(atoms: Atoms) -> Atoms:
    """As it stood in its file, labels under their own keys included."""
    del atoms.info[SOURCE]
    return atoms


def nested(n_frames: int, percent: float) -> list[int]:
    """At least two frames, the first of one fixed random order, so that smaller subsets lie in larger ones."""
    order = random.Random(0).sample(range(n_frames), n_frames)
    return sorted(order[: max(2, round(n_frames * percent / 100))])
