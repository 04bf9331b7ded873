"""What a process is asked to time or to train."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Job:
    """What is timed: one call of the work, with this model, on these frames.

    model    size, in the words of the code
    dtype    float32 or float64
    cutoff   Å
    symbols  elements the model knows
    frames   path of an extxyz file; for a training, a folder to write to
    work     one of serving.WORK, or "fit"
    device   cpu or cuda, which trainings leave at cpu
    """

    model: str
    dtype: str
    cutoff: float
    symbols: tuple[str, ...]
    frames: str
    work: str
    device: str = "cpu"

    @classmethod
    def of(cls, values: dict[str, Any]) -> "Job":
        return cls(**{**values, "symbols": tuple(values["symbols"])})
