"""Exponential moving average of a model's parameters."""

import copy
from typing import Generic, TypeVar

import torch
from torch import nn

AnyModule = TypeVar("AnyModule", bound=nn.Module)


class MovingAverage(Generic[AnyModule]):
    """A second model whose parameters follow those of the first, and whose buffers are those of the first.

    decay  of the average; smaller during the first steps, so that the start is forgotten quickly
    """

    def __init__(self, model: AnyModule, decay: float):
        self.model = copy.deepcopy(model).eval()
        self.model.requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model: AnyModule, step: int) -> None:
        """step  optimiser steps done so far, this one included"""
        decay = min(self.decay, step / (9 + step))
        torch._foreach_lerp_(list(self.model.parameters()), list(model.parameters()), 1 - decay)
        for own, other in zip(self.model.buffers(), model.buffers(), strict=True):
            own.copy_(other)
