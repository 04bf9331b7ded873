"""Training runs that take a second: a few silver trimers and the smallest model."""

from pathlib import Path
from typing import Any

from ase.io import read, write

from cace_qeq.datasets import dataset
from cace_qeq.training import TrainConfig, parse_config

WEIGHTS = {"energy": 10, "forces": 1, "charges": 1}


def trimers(folder: Path, n_train: int = 12, n_valid: int = 4) -> Path:
    """The first frames of the Ag3 set as train.extxyz and valid.extxyz."""
    for name, count in (("train", n_train), ("valid", n_valid)):
        write(folder / f"{name}.extxyz", read(dataset("ag3") / f"{name}.extxyz", f":{count}"))
    return folder


def small_config(folder: Path, output: str = "run", **training: Any) -> TrainConfig:
    """A configuration for `trimers(folder)`."""
    return parse_config(small_values(folder, output, **training), "test")


def small_values(folder: Path, output: str = "run", **training: Any) -> dict[str, Any]:
    settings = {"epochs": 3, "batch_atoms": 12, "dtype": "float64", "weights": WEIGHTS, "warmup_epochs": 1}
    return {
        "data": {"train": str(folder / "train.extxyz"), "valid": str(folder / "valid.extxyz")},
        "model": {"preset": "XS", "cutoff": 5.0, "channels": 4, "hidden": [4], "n_radial": 4, "l_max": 2},
        "training": {"output": str(folder / output), **settings, **training},
    }
