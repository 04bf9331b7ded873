"""The learning rate as a function of how far training has come."""

import math

from cace_qeq.training.config import TrainingConfig


def learning_rate_factor(config: TrainingConfig, epochs_done: float, total_epochs: int, stage_began: int = 0) -> float:
    """Warm-up at the start of every stage, times the cosine over all of them if the schedule is one.

    epochs_done  may be fractional: it grows with every step
    stage_began  epochs done when the stage began
    """
    warmup = min(1.0, (epochs_done - stage_began) / config.warmup_epochs) if config.warmup_epochs else 1.0
    if config.schedule != "cosine":
        return warmup
    floor = config.final_learning_rate
    wave = (1 + math.cos(math.pi * min(1.0, epochs_done / total_epochs))) / 2
    return warmup * (floor + (1 - floor) * wave)
