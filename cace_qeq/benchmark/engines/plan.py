"""What a training is asked to do, and its schedule: how weights and rates follow the share of the budget."""

import json
import math
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from .job import Job

ENERGY, FORCES = "energy_rmse_mev_per_atom", "forces_rmse_mev_per_angstrom"
WARM_UP, FINAL = 0.02, 0.01  # of the budget; of the learning rate


@dataclass(frozen=True)
class FitPlan:
    """One training.

    job            model, precision, cutoff and elements
    seconds        CPU time of all steps, or 0 if epochs count
    epochs         passes over the frames, or 0 if seconds count
    batch          frames of a step
    frames         how many training frames are used, 0 for all
    optimizer      adamw or soap
    energy_weights at the beginning and at the end, beside 1 for forces
    energy_ramp    shares of the budget between which that weight grows
    state          file from which a broken run goes on
    box            Å, edge of the periodic cube that frames lie in where their files leave it out, otherwise 0
    code           versions of its packages, and our commit
    """

    job: Job
    train: tuple[str, ...]
    valid: tuple[str, ...]
    held_out: tuple[str, ...]
    seconds: float
    epochs: int
    seed: int
    batch: int
    frames: int
    optimizer: str
    learning_rate: float
    energy_weights: tuple[float, float]
    energy_ramp: tuple[float, float]
    charge_weight: float
    state: str
    box: float = 0.0
    code: dict[str, str | None] = field(default_factory=dict)

    @classmethod
    def of(cls, values: dict[str, Any]) -> "FitPlan":
        return cls(**{**values, "job": Job.of(values["job"])})

    @property
    def conditions(self) -> str:
        """All but the places of files, which may move before a broken training goes on."""
        values = asdict(self)
        for place in ("train", "valid", "held_out", "state"):
            del values[place]
        del values["job"]["frames"]
        return json.dumps(values)


def score(row: dict[str, float], plan: FitPlan) -> float:
    """What the best model is chosen by: the loss of the end on the validation frames."""
    return plan.energy_weights[1] * row[ENERGY] ** 2 + row[FORCES] ** 2


def energy_weight(done: float, plan: FitPlan) -> float:
    """When a fraction of the budget is done: grown by equal factors in equal times."""
    small, large = plan.energy_weights
    return float(small * (large / small) ** np.interp(done, plan.energy_ramp, (0.0, 1.0)))


def rate_factor(done: float) -> float:
    """Of the learning rate, when a fraction of the budget is done: a linear start, then half a cosine."""
    if done < WARM_UP:
        return done / WARM_UP
    return FINAL + (1 - FINAL) * (1 + math.cos(math.pi * min(done, 1.0))) / 2
