"""The network as generated code: what operations cost to be called, which is most of the time of a molecule, is saved.

torch.fx records the operations of one evaluation, torch.compile turns them and their derivatives into C++ (on a GPU
into Triton). Measured to pay for structures of up to about a hundred atoms on one core.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.functional import pad

from cace_qeq.model import CACEQEq
from cace_qeq.nn.ace import CartesianACE, Environments
from cace_qeq.nn.equivariant import EquivariantACE

SLOTS = 8  # by which tables of neighbours grow
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-11}  # of features and gradients, relative to the largest

Features = Callable[[Tensor, Tensor, Tensor], Tensor]
"""displacements (atom, 3, slot), senders (atom, slot), species (atom,) -> (atom, feature)"""


class CompiledRepresentation(nn.Module):
    """A representation in code that is generated when a number of atoms, or more neighbours than before, are met first.

    It has first derivatives by the displacements and no others, and stands for parameters that do not change.

    Raises RuntimeError if the generated code does not say what the representation says.
    """

    def __init__(self, representation: CartesianACE | EquivariantACE):
        super().__init__()
        self.representation = representation
        self.settings, self.n_features = representation.settings, representation.n_features
        self.generated: dict[int, tuple[int, Features]] = {}  # slots and code for numbers of atoms

    def forward(self, around: Environments, species: Tensor) -> Tensor:
        """species (atom,) -> (atom, feature)"""
        n_atoms, n_slots = around.senders.shape
        if n_atoms not in self.generated or self.generated[n_atoms][0] < n_slots:
            width = SLOTS * max(1, -(-n_slots // SLOTS))
            self.generated[n_atoms] = width, self.generate(self.padded(around, width), species)
        width, features = self.generated[n_atoms]
        return features(*self.padded(around, width), species)

    def plain(self, displacements: Tensor, senders: Tensor, species: Tensor) -> Tensor:
        """What the code is made from: all rows together, and nothing that depends on values."""
        return self.representation(Environments(displacements, senders, None, self.settings), species)

    def padded(self, around: Environments, width: int) -> tuple[Tensor, Tensor]:
        """Displacements and senders with slots up to a width, the new ones beyond the cutoff."""
        missing = width - around.senders.shape[1]
        if missing == 0:
            return around.displacements, around.senders
        far = 2 * self.settings.cutoff
        return pad(around.displacements, (0, missing), value=far), pad(around.senders, (0, missing))

    def generate(self, tables: tuple[Tensor, Tensor], species: Tensor) -> Features:
        example = (tables[0].detach(), tables[1], species)
        with torch.no_grad():
            operations = make_fx(lambda *tensors: self.plain(*tensors))(*example)  # it miscounts bound methods
        # the pattern matcher of torch 2.13 gets some gradients wrong that were recorded with their function
        generated: Features = torch.compile(
            operations, fullgraph=True, dynamic=False, options={"pattern_matcher": False}
        )
        self.check(generated, *example)
        return generated

    @torch.enable_grad()
    def check(self, generated: Features, displacements: Tensor, senders: Tensor, species: Tensor) -> None:
        """Features and a gradient against those of the representation."""
        found, expected = (
            value_and_gradient(function, displacements, senders, species) for function in (generated, self.plain)
        )
        for one, other in zip(found, expected, strict=True):
            apart = float((one - other).abs().max() / other.abs().max().clamp(min=1e-30))
            if not apart < TOLERANCE[displacements.dtype]:
                raise RuntimeError(
                    f"the generated code differs from the network by {apart:.1e} of its largest value; "
                    "use the model without compiling it, and report this with the versions of torch and the compiler."
                )


def value_and_gradient(
    features: Features, displacements: Tensor, senders: Tensor, species: Tensor
) -> tuple[Tensor, Tensor]:
    """Features and the gradient of a sum of them with different signs and sizes."""
    place = displacements.clone().requires_grad_()
    value = features(place, senders, species)
    weights = torch.linspace(-1, 1, value.numel(), dtype=value.dtype, device=value.device).view_as(value)
    (gradient,) = torch.autograd.grad(value, place, weights)
    return value.detach(), gradient


def compile_networks(potential: nn.Module) -> None:
    """Let a model, or all members of a committee, compute features by generated code: for evaluation alone."""
    for model in potential.modules():
        if isinstance(model, CACEQEq):
            model.set_submodule("representation", CompiledRepresentation(model.representation))
