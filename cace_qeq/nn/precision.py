"""Buffers that stay in double precision when the network around them goes to single."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn


class KeepsDoubleBuffers(nn.Module):
    """A module whose own float64 buffers follow it to a device, but never to another precision.

    A total energy of -37 797 eV has an error of 2 meV in single precision.
    """

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> "KeepsDoubleBuffers":
        doubles = {
            name: buffer
            for name, buffer in self._buffers.items()
            if buffer is not None and buffer.dtype == torch.float64
        }
        super()._apply(fn, recurse)
        for name, buffer in doubles.items():
            moved = self._buffers[name]
            self._buffers[name] = buffer.to(moved.device) if moved is not None else None
        return self
