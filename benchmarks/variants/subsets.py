"""Nested subsets of training frames, as files."""

import random
from pathlib import Path

from ase import Atoms
from ase.io import write

from cace_qeq.structures import read_frames
from cace_qeq.structures.convert.frames import SOURCE
from cace_qeq.training import TrainConfig
from variants.changes import Change, Values


def on_subset(config: TrainConfig, percent: float) -> tuple[Change, int]:
    """The change that trains on a share of the frames, and how many these are; their file lies beside the output.

    raises  ValueError for a share outside of (0, 100]
    """
    if not 0 < percent <= 100:
        raise ValueError(f"{percent} percent of the training frames, expected more than 0 and at most 100.")
    frames = [atoms for path in config.data.train for atoms in read_frames(path)]
    chosen = nested(len(frames), percent)
    path = Path(f"{config.training.output}_{percent:g}percent.extxyz")
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        write(path, [without_source(frames[index]) for index in chosen], format="extxyz")

    def change(values: Values) -> Values:
        return {**values, "data": {**values["data"], "train": [str(path)]}}

    return change, len(chosen)


def without_source(atoms: Atoms) -> Atoms:
    """As it stood in its file, labels under their own keys included."""
    del atoms.info[SOURCE]
    return atoms


def nested(n_frames: int, percent: float) -> list[int]:
    """At least two frames, the first of one fixed random order, so that smaller subsets lie in larger ones."""
    order = random.Random(0).sample(range(n_frames), n_frames)
    return sorted(order[: max(2, round(n_frames * percent / 100))])
