"""Multilayer perceptron with SiLU, smooth as forces need it."""

from collections.abc import Sequence

from torch import nn


def mlp(n_in: int, hidden: Sequence[int], n_out: int) -> nn.Sequential:
    """n_in -> hidden[0] -> ... -> n_out, SiLU between, no activation at the end."""
    widths = [n_in, *hidden]
    layers: list[nn.Module] = []
    for narrow, wide in zip(widths[:-1], widths[1:], strict=True):
        layers += [nn.Linear(narrow, wide), nn.SiLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], n_out))
