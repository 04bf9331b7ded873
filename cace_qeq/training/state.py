"""The state of a run in one file, from which it continues with the same numbers. Nothing is unpickled."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cace_qeq.checkpoint import read, section, write

FORMAT = "cace_qeq training state 3"
TENSOR, STRIDES = "tensor", "strides"  # keys of what stands for a tensor among plain values


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
    history    one record per epoch, the rows of log.csv
    files      what the data files, and the model that training started from, are for, with their SHA-256
    """

    epoch: int = 0
    step: int = 0
    stage: int = 0
    best: float = float("inf")
    stale: int = 0
    slowdown: float = 1.0
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)
    files: list[str] = field(default_factory=list)


def save_state(
    path: Path, modules: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer, progress: Progress
) -> None:
    """Write parameters and buffers of the modules, what the optimiser remembers, and the progress."""
    tensors = {f"{name}/{key}": value for name, m in modules.items() for key, value in m.state_dict().items()}
    remembered = optimizer.state_dict()
    plain = {key: without_tensors(value, f"optimizer/{key}", tensors) for key, value in remembered.items()}
    write(path, {"format": FORMAT, "progress": json.dumps(asdict(progress)), "optimizer": json.dumps(plain)}, tensors)


def progress_of(path: Path) -> Progress:
    """How far a saved run has come, as far as this version knows what is told of it.

    raises  ValueError if the file is damaged
    """
    told, known = json.loads(read(path)[0].get("progress", "{}")), {field.name for field in fields(Progress)}
    if not isinstance(told, dict):
        raise ValueError(f"{path} does not say how far its run has come; start again with --overwrite.")
    return Progress(**{name: value for name, value in told.items() if name in known})


def load_state(path: Path, modules: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer) -> None:
    """Put a saved state back in place.

    raises  ValueError if the file is damaged, or belongs to another model or version
    """
    metadata, tensors = read(path)
    if metadata.get("format") != FORMAT:
        raise ValueError(f"{path} is not a {FORMAT}; start again with --overwrite.")
    try:
        plain = json.loads(metadata["optimizer"])
        state = {int(index): with_tensors(values, tensors) for index, values in plain["state"].items()}
        for name, module in modules.items():
            module.load_state_dict(section(tensors, name))
        optimizer.load_state_dict({"state": state, "param_groups": plain["param_groups"]})
    except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"{path} is of another model or version of this program ({reason}); start again with --overwrite."
        ) from None


def without_tensors(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """A nested value with the name of each tensor in its place; the tensors are added to the others.

    Strides are kept as well: products of matrices round differently in another order of memory.
    """
    if isinstance(value, Tensor):
        tensors[name] = value
        return {TENSOR: name, STRIDES: value.stride()}
    if isinstance(value, Mapping):
        return {key: without_tensors(part, f"{name}/{key}", tensors) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [without_tensors(part, f"{name}/{index}", tensors) for index, part in enumerate(value)]
    return value


def with_tensors(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The reverse of `without_tensors`; a tuple has become a list."""
    if isinstance(value, list):
        return [with_tensors(part, tensors) for part in value]
    if not isinstance(value, dict):
        return value
    if TENSOR not in value:
        return {key: with_tensors(part, tensors) for key, part in value.items()}
    tensor = tensors[value[TENSOR]]
    return tensor.new_empty_strided(tensor.shape, value[STRIDES]).copy_(tensor)
