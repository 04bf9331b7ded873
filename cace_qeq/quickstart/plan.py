"""What the quickstart does: the data, the model, the training, and where the simulations start."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cace_qeq.datasets import dataset
from cace_qeq.simulation import DynamicsSettings, RelaxationSettings
from cace_qeq.structures import Atoms
from cace_qeq.training import TrainConfig, parse_config

TITLES = {"ag3": "Silver trimers", "nacl_cluster": "Sodium chloride clusters"}
MODEL: dict[str, Any] = {
    "preset": "XS",
    "cutoff": 5.0,
    "n_radial": 6,
    "charge_feedback": "readout",
    "closed_shells": True,
}
"""All three atoms of a bent trimer see each other. Fewer radial functions than the preset's eight are smoother where
frames are rare, charges in the readout help the trimers' forces, and closed shells the clusters' charges."""

REPEATS = {"ag3": 9}
"""How often an epoch takes each set, once if not named: a trimer has few atoms beside a cluster."""

TRAINING: dict[str, Any] = {
    "threads": 1,
    "batch_atoms": 200,
    "learning_rate": 0.01,
    "validate_every": 2,
    "stages": [
        {"name": "forces", "epochs": 10, "weights": {"energy": 10, "forces": 1, "charges": 100}},
        {"name": "energies", "epochs": 4, "weights": {"energy": 100, "forces": 1, "charges": 100}},
    ],
}
"""Charges enter at once and with weight: trained first and alone, they are forgotten when energies come in, and with
a twentieth of the weight those of sodium chloride ended twice as far off. One thread: the tensors are small, and a
second thread on a busy core made everything seven times slower."""

START_ANGLE, START_BOND = 110.0, 2.7  # degrees, Å; neither of the two shapes that the ions end in
RELAXATION = RelaxationSettings(largest_force=0.001)


@dataclass(frozen=True)
class Plan:
    """A quickstart; by default the one of the command line.

    out       folder that receives everything
    sets      folders with train, valid and test.extxyz, by name
    model     the model section of a training configuration
    training  the training section
    n_steps   of the dynamics, 0.5 fs each
    """

    out: Path
    sets: dict[str, Path] = field(default_factory=lambda: {name: dataset(name) for name in TITLES})
    model: dict[str, Any] = field(default_factory=lambda: MODEL)
    training: dict[str, Any] = field(default_factory=lambda: TRAINING)
    n_steps: int = 2000

    @property
    def config(self) -> TrainConfig:
        """The training configuration, as `cace-qeq train` would read it from a file."""
        data = {split: self.files(split) for split in ("valid", "test")}
        repeated = [name for name in self.sets for _ in range(REPEATS.get(name, 1))]
        data["train"] = [str(self.sets[name] / "train.extxyz") for name in repeated]
        training = {"output": str(self.out), **self.training}
        return parse_config({"data": data, "model": self.model, "training": training}, "quickstart")

    def files(self, split: str) -> list[str]:
        """Of "train", "valid" or "test", one per set."""
        return [str(folder / f"{split}.extxyz") for folder in self.sets.values()]

    @property
    def dynamics(self) -> DynamicsSettings:
        """Constant energy; the seed gives both ions the same velocities."""
        return DynamicsSettings(n_steps=self.n_steps, ensemble="nve", timestep=0.5, temperature=300.0, seed=1)


def bent_trimer(total_charge: int) -> Atoms:
    """Three silver atoms, bent; only the stated total charge (e) differs between calls."""
    angle = np.deg2rad(START_ANGLE)
    end = [START_BOND * np.cos(angle), START_BOND * np.sin(angle), 0.0]
    positions = [[START_BOND, 0.0, 0.0], [0.0, 0.0, 0.0], end]
    return Atoms("Ag3", positions, info={"charge": total_charge})
