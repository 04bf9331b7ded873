"""Plane waves at the atoms of one structure, one by one."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from cace_qeq.electrostatics.forms import Gram


@dataclass(frozen=True)
class Waves:
    """Σ_k a_k² (C_k(x) C_k(y) + S_k(x) S_k(y)) with C_k(x) = Σ_a x_a cos k.r_a and S_k with sines.

    positions  (atom, 3)  Å
    vectors    (k, 3)     1/Å
    amplitude  (k,)       √eV/e
    cosine     (atom, k)  cos k.r_a
    sine       (atom, k)  sin k.r_a
    """

    positions: Tensor
    vectors: Tensor
    amplitude: Tensor
    cosine: Tensor
    sine: Tensor

    @classmethod
    def of(cls, positions: Tensor, vectors: Tensor, amplitude: Tensor) -> "Waves":
        return cls(positions, vectors, amplitude, *CosineAndSine.apply(positions @ vectors.T))

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        return self.positions, self.vectors, self.amplitude

    def product(self, charges: Tensor) -> Tensor:
        return self._constant.product(charges)

    def add_to(self, matrix: Tensor) -> None:
        self._constant.add_to(matrix)

    def gradients(self, left: Tensor, right: Tensor) -> tuple[Tensor, ...]:
        """With ∂(x.A y)/∂(k.r_a) = a_k² x_a (S_k(y) cos k.r_a - C_k(y) sin k.r_a), and x and y exchanged."""
        waves = self._sums(left)
        others = waves if left is right else self._sums(right)
        by_amplitude = 2 * self.amplitude * (waves[0] * others[0] + waves[1] * others[1])
        by_positions, by_vectors = self._slopes(left, others)
        if left is right:
            return 2 * by_positions, 2 * by_vectors, by_amplitude
        further, likewise = self._slopes(right, waves)
        return by_positions + further, by_vectors + likewise, by_amplitude

    def energy(self, charges: Tensor) -> Tensor:
        cosines, sines = self._sums(charges)
        return torch.dot(self.amplitude.square(), cosines.square() + sines.square()) / 2

    def _sums(self, charges: Tensor) -> tuple[Tensor, Tensor]:
        """C and S.  (k,)"""
        return charges @ self.cosine, charges @ self.sine

    def _slopes(self, charges: Tensor, others: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Of charges in the waves of others, by positions and vectors.  (atom, 3), (k, 3)"""
        by_sine, by_cosine = ((self.amplitude.square() * wave).unsqueeze(1) for wave in others)
        moments = (charges.unsqueeze(1) * self.positions).T
        by_positions = self.cosine @ (by_cosine * self.vectors) - self.sine @ (by_sine * self.vectors)
        by_vectors = by_cosine * (moments @ self.cosine).T - by_sine * (moments @ self.sine).T
        return charges.unsqueeze(1) * by_positions, by_vectors

    @cached_property
    def _constant(self) -> Gram:
        """The same matrix, without gradients."""
        factors = self.cosine.new_empty(len(self.cosine), 2, self.cosine.shape[1])
        for part, wave in zip(factors.unbind(1), (self.cosine, self.sine), strict=True):
            torch.mul(wave.detach(), self.amplitude.detach(), out=part)
        return Gram(factors.flatten(1))


class CosineAndSine(torch.autograd.Function):
    """Together: each is the other's derivative, so no derivative evaluates them again."""

    @staticmethod
    def forward(ctx: Any, phase: Tensor) -> tuple[Tensor, Tensor]:
        cosine, sine = phase.cos(), phase.sin()
        ctx.save_for_backward(cosine, sine)
        return cosine, sine

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        cosine, sine = ctx.saved_tensors
        return gradients[1] * cosine - gradients[0] * sine
