"""A quickstart of a few frames, epochs and steps, and somebody who listens to it."""

from contextlib import contextmanager
from pathlib import Path

from ase.io import read, write

from cace_qeq.datasets import dataset
from cace_qeq.quickstart import Plan
from cace_qeq.simulation.dynamics import Silent as SilentDynamics
from cace_qeq.training.reporting import Silent as SilentTraining

MODEL = {"preset": "XS", "cutoff": 5.0, "channels": 4, "hidden": [4], "n_radial": 4, "l_max": 2, "body_order": 2}


class Listener:
    """Keeps the titles of the dynamics."""

    def __init__(self) -> None:
        self.training = SilentTraining()
        self.titles: list[str] = []

    @contextmanager
    def dynamics(self, title: str, n_steps: int):
        self.titles.append(title)
        yield SilentDynamics()


def small_plan(folder: Path) -> Plan:
    for name in ("ag3", "nacl_cluster"):
        (folder / name).mkdir()
        for split, count in (("train", 40), ("valid", 4), ("test", 6)):
            write(folder / name / f"{split}.extxyz", read(dataset(name) / f"{split}.extxyz", f":{count}"))
    training = {"epochs": 4, "batch_atoms": 60, "learning_rate": 0.02, "dtype": "float64", "validate_every": 2}
    weights = {"energy": 1, "forces": 1, "charges": 1}
    sets = {name: folder / name for name in ("ag3", "nacl_cluster")}
    return Plan(folder / "run", sets, MODEL, {**training, "weights": weights}, n_steps=30)
