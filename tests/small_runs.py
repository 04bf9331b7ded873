"""Training runs that take a second: a few silver trimers and the smallest model."""

from pathlib import Path
from typing import Any

import torch
from ase.io import read, write

from cace_qeq.datasets import dataset
from cace_qeq.training import TrainConfig, parse_config

WEIGHTS = {"energy": 10, "forces": 1, "charges": 1}


class OneOf:
    """Stands for Fabric in one of several processes whose sums are not taken."""

    device = torch.device("cpu")

    def __init__(self, rank, size):
        self.global_rank, self.world_size = rank, size

    def all_reduce(self, tensor, reduce_op):
        return tensor


def trimers(folder: Path, n_train: int = 12, n_valid: int = 4) -> Path:
    """The first frames of the Ag3 set as train.extxyz and valid.extxyz."""
    for name, count in (("train", n_train), ("valid", n_valid)):
        write(folder / f"{name}.extxyz", read(dataset("ag3") / f"{name}.extxyz", f":{count}"))
    return folder


def small_config(folder: Path, output: str = "run", **training: Any) -> TrainConfig:
    """A configuration for `trimers(folder)`."""
    return parse_config(small_values(folder, output, **training), "test")


def small_values(folder: Path, output: str = "run", **training: Any) -> dict[str, Any]:
    settings = {"batch_atoms": 12, "dtype": "float64", "warmup_epochs": 1}
    if "stages" not in training:
        settings |= {"epochs": 3, "weights": WEIGHTS}
    return {
        "data": {"train": str(folder / "train.extxyz"), "valid": str(folder / "valid.extxyz")},
        "model": {"preset": "XS", "cutoff": 5.0, "channels": 4, "hidden": [4], "n_radial": 4, "l_max": 2},
        "training": {"output": str(folder / output), **settings, **training},
    }
