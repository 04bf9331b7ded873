"""The features of a model as generated code or as CUDA graphs, to be differentiated by what comes after them."""

import copy
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.func import functionalize
from torch.nn.functional import pad

from cace_qeq.compilation.code import (
    SLOTS,
    Code,
    Tensors,
    Watched,
    compiler_at_hand,
    made_of,
    recorded,
    refuse_beyond_rounding,
    rounded_up,
)
from cace_qeq.compilation.halves import halves
from cace_qeq.nn.ace import CartesianACE, Environments
from cace_qeq.nn.equivariant import EquivariantACE

Features = Callable[[Tensor, Tensor, Tensor], Tensor]
"""displacements (atom, 3, slot), senders (atom, slot), species (atom,) -> (atom, feature)"""


class CompiledRepresentation(nn.Module):
    """A representation in code that is generated when a number of atoms, or more neighbours than before, are met first,
    and again when parameters have changed.

    It has first derivatives by the displacements and no others; in eval mode those by parameters are missing silently,
    as a model that predicts has parameters that want some.

    Raises RuntimeError if the generated code does not say what the representation says, and in training mode, where
    derivatives by parameters are expected; ValueError without a compiler.
    """

    def __init__(self, representation: CartesianACE | EquivariantACE):
        super().__init__()
        self.representation = representation
        self.settings, self.n_features = representation.settings, representation.n_features
        self.watched = Watched(representation)
        self.generated: dict[int, tuple[int, Features]] = {}  # slots and code for numbers of atoms
        self.register_load_state_dict_pre_hook(as_if_not_compiled)

    def forward(self, around: Environments, species: Tensor) -> Tensor:
        """species (atom,) -> (atom, feature)"""
        n_atoms, n_slots = around.senders.shape
        if self.representation.training and torch.is_grad_enabled() and trained(self.representation):
            raise RuntimeError(
                "generated code has no derivatives by parameters; train the model before its networks are compiled, "
                "and predict after model.eval()"
            )
        if self.watched.has_changed:
            self.generated.clear()
        if n_atoms not in self.generated or self.generated[n_atoms][0] < n_slots:
            self.watched = Watched(self.representation)
            width = rounded_up(n_slots, SLOTS)
            self.generated[n_atoms] = width, self.generate(self.padded(around, width), species)
        width, features = self.generated[n_atoms]
        return features(*self.padded(around, width), species)

    def __deepcopy__(self, memo: dict[int, Any]) -> "CompiledRepresentation":
        """Of the network alone: a copy may come to compute in another precision."""
        return CompiledRepresentation(copy.deepcopy(self.representation, memo))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled without code, which is made again where it is asked for."""
        return CompiledRepresentation, (self.representation,)

    def _apply(self, *arguments: Any, **options: Any) -> "CompiledRepresentation":
        """Code is for the precision and the device that it was made for."""
        self.generated.clear()
        return cast(CompiledRepresentation, super()._apply(*arguments, **options))

    def state_dict(self, *arguments: Any, **options: Any) -> Any:
        """That of the network, as if it were not compiled."""
        return self.representation.state_dict(*arguments, **options)

    def plain(self, displacements: Tensor, senders: Tensor, species: Tensor) -> Tensor:
        """What the code is made from: all rows together, and nothing that depends on values."""
        return self.representation(Environments(displacements, senders, None, self.settings), species)

    def padded(self, around: Environments, width: int) -> tuple[Tensor, Tensor]:
        """Displacements and senders with slots up to a width, the new ones beyond the cutoff."""
        return with_slots(around.displacements, around.senders, width, 2 * self.settings.cutoff)

    def generate(self, tables: tuple[Tensor, Tensor], species: Tensor) -> Features:
        example = (tables[0].detach(), tables[1], species)
        with compiler_at_hand():
            generated = self.graphed(*example) if species.device.type == "cuda" else self.compiled(*example)
            self.check(generated, *example)
        return generated

    @torch.no_grad()
    def compiled(self, *example: Tensor) -> Features:
        asked = *example, self.plain(*example)
        operations = recorded(lambda *tensors: self.pulled_back(*tensors), *asked)  # it miscounts bound methods
        first, second = halves(recorded(functionalize(operations), *asked))  # where nothing is written into
        values = made_of(first, example)
        slopes = made_of(second, (*values(*example)[1:], *asked))
        return lambda *tensors: _Recorded.apply(values, slopes, *tensors)

    @torch.enable_grad()
    def pulled_back(self, displacements: Tensor, senders: Tensor, species: Tensor, arriving: Tensor) -> Tensors:
        """Features, and what a gradient of them is for the displacements."""
        place = displacements.detach().requires_grad_()
        features = self.plain(place, senders, species)
        return features, *torch.autograd.grad(features, place, arriving)

    @torch.enable_grad()
    def graphed(self, displacements: Tensor, senders: Tensor, species: Tensor) -> Features:
        example = (displacements.clone().requires_grad_(), senders, species)
        return cast(Features, torch.cuda.make_graphed_callables(self.plain, example))

    @torch.enable_grad()
    def check(self, generated: Features, displacements: Tensor, senders: Tensor, species: Tensor) -> None:
        """Features and a gradient against those of the representation."""
        found, own = (
            value_and_gradient(function, displacements, senders, species) for function in (generated, self.plain)
        )
        double = CompiledRepresentation(copy.deepcopy(self.representation).double())
        exact = value_and_gradient(double.plain, displacements.double(), senders, species)
        refuse_beyond_rounding(found, own, exact, displacements.dtype, "use the model without compiling it")


def trained(network: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in network.parameters())


def as_if_not_compiled(module: nn.Module, tensors: dict[str, Any], prefix: str, *_: Any) -> None:
    """What a state of the network calls its tensors as those of the network in a module."""
    for name in [name for name in tensors if name.startswith(prefix)]:
        tensors[f"{prefix}representation.{name.removeprefix(prefix)}"] = tensors.pop(name)


class _Recorded(torch.autograd.Function):
    """Features by one piece of code, and their derivatives by another from what the first has kept."""

    @staticmethod
    def forward(ctx: Any, values: Code, slopes: Code, *tensors: Tensor) -> Tensor:
        features, *kept = values(*tensors)
        ctx.slopes = slopes
        ctx.save_for_backward(*kept, *tensors)
        return features

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (found,) = ctx.slopes(*ctx.saved_tensors, gradient.contiguous())
        return None, None, found, None, None


def with_slots(displacements: Tensor, senders: Tensor, n_slots: int, far: float) -> tuple[Tensor, Tensor]:
    """Tables (atom, 3, slot) and (atom, slot) with new slots up to a number, `far` away (Å)."""
    missing = n_slots - senders.shape[1]
    if missing == 0:
        return displacements, senders
    return pad(displacements, (0, missing), value=far), pad(senders, (0, missing))


def value_and_gradient(
    features: Features, displacements: Tensor, senders: Tensor, species: Tensor
) -> tuple[Tensor, Tensor]:
    """Features and the gradient of a sum of them with different signs and sizes."""
    place = displacements.clone().requires_grad_()
    value = features(place, senders, species)
    weights = torch.linspace(-1, 1, value.numel(), dtype=value.dtype, device=value.device).view_as(value)
    (gradient,) = torch.autograd.grad(value, place, weights)
    return value.detach(), gradient
