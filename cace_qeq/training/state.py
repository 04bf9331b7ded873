"""The state of a run in one file, from which it continues with the same numbers. Nothing is unpickled."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cace_qeq.checkpoint import read, section, write

FORMAT = "cace_qeq training state 2"


@dataclass
class Progress:
    """How far a run has come; plain values.

    epoch      epochs done
    step       optimiser steps done
    stage      index of the stage that the last epoch belonged to
    best       smallest validation loss of this stage so far
    stale      validations since then
    slowdown   factor on the learning rate that the plateau schedule has arrived at
    seconds    spent training
    finished   nothing is left to do
    history    one record per epoch, the rows of log.csv
    """

    epoch: int = 0
    step: int = 0
    stage: int = 0
    best: float = float("inf")
    stale: int = 0
    slowdown: float = 1.0
    seconds: float = 0.0
    finished: bool = False
    history: list[dict[str, Any]] = field(default_factory=list)


def save_state(
    path: Path, modules: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer, progress: Progress
) -> None:
    """Write parameters and buffers of the modules, the optimiser's moments, and the progress."""
    tensors = {f"{name}/{key}": value for name, m in modules.items() for key, value in m.state_dict().items()}
    tensors |= {f"optimizer/{key}": value for key, value in flattened(optimizer).items()}
    write(path, {"format": FORMAT, "progress": json.dumps(asdict(progress))}, tensors)


def load_state(path: Path, modules: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer) -> Progress:
    """Put a saved state back in place.

    raises  ValueError if the file is damaged or belongs to another model
    """
    metadata, tensors = read(path)
    if metadata.get("format") != FORMAT:
        raise ValueError(f"{path} is not a {FORMAT}; start again with --overwrite.")
    for name, module in modules.items():
        module.load_state_dict(section(tensors, name))
    restore(optimizer, section(tensors, "optimizer"))
    return Progress(**json.loads(metadata["progress"]))


def flattened(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """`parameter/quantity` of everything that the optimiser remembers, e.g. `3/exp_avg`."""
    state = optimizer.state_dict()["state"]
    return {f"{index}/{name}": value for index, values in state.items() for name, value in values.items()}


def restore(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """The reverse of `flattened`; learning rates and other settings stay those of the optimiser."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split("/")
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
