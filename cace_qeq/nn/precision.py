"""Buffers that stay in double precision when the network around them goes to single."""

from collections.abc import Callable
from typing import Any, ClassVar

from torch import nn


class KeepsDoubleBuffers(nn.Module):
    """A module whose named buffers follow it to a device, but never to another precision.

    A total energy of -37 797 eV has an error of 2 meV in single precision.
    """

    double_buffers: ClassVar[tuple[str, ...]] = ()

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> "KeepsDoubleBuffers":
        kept = {name: self.get_buffer(name) for name in self.double_buffers}
        super()._apply(fn, recurse)
        for name, buffer in kept.items():
            self._buffers[name] = buffer.to(self.get_buffer(name).device)
        return self
