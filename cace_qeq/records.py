"""Frozen records of tensors."""

from dataclasses import fields, is_dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

Moved = TypeVar("Moved")


def moved(record: Moved, device: torch.device | str) -> Moved:
    """A frozen dataclass of tensors (nested or not) on another device."""
    if isinstance(record, Tensor):
        return record.to(device)  # type: ignore[return-value]
    if not is_dataclass(record):
        return record
    return replace(record, **{f.name: moved(getattr(record, f.name), device) for f in fields(record)})  # type: ignore
