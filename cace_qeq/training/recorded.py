"""Training without Python between operations: the network and its slopes, recorded for each shape and run again.

Steps on a few molecules are short operations, and calling them takes longer than they do. On a processor torch.compile
makes C++ of them and of the gradient of the loss, on a GPU they become CUDA graphs.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from typing import cast

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import pad

from cace_qeq.compilation.code import INDUCTOR, compiler_at_hand, recorded, refuse_beyond_rounding, rounded_up
from cace_qeq.compilation.features import with_slots
from cace_qeq.compilation.network import Network
from cace_qeq.config import ModelConfig
from cace_qeq.model import CACEQEq
from cace_qeq.prediction import PairSlopes, Prediction, predict_by_pairs
from cace_qeq.structures import AtomicBatch

ATOMS, SLOTS = 4, 8  # by which recorded shapes grow,
SHARE = 16  # or by this part of the atoms, where that is more
WASTE = 1.5  # times the table that would do, in which a batch still goes: recording another one takes a minute


class RecordedPotential:
    """Predictions of a model without charges, to be differentiated by its parameters.

    Raises ValueError for a model with more than a network and without a compiler, and RuntimeError if what is recorded
    does not say what the network says.
    """

    def __init__(self, model: CACEQEq):
        refuse_more_than_a_network(model.config)
        self.model, self.network = model, Network(model)
        self.recorded: dict[tuple[int, int], PairSlopes] = {}

    def predict(self, batch: AtomicBatch) -> Prediction:
        """The same as `differentiable_predict`."""
        return predict_by_pairs(self.model, batch, self.pair_slopes)

    def pair_slopes(self, displacements: Tensor, senders: Tensor, species: Tensor) -> tuple[Tensor, Tensor]:
        n_atoms, n_slots = senders.shape
        shape = self.shape_for(n_atoms, n_slots)
        tensors = self.padded(displacements, senders, species, shape)
        if shape not in self.recorded:
            self.recorded[shape] = self.record(tensors)
        energies, slopes = self.recorded[shape](*tensors)
        return energies[:n_atoms], slopes[:n_atoms, :, :n_slots]

    def shape_for(self, n_atoms: int, n_slots: int) -> tuple[int, int]:
        """The smallest recorded one that holds them without much waste, otherwise a new one."""
        least = rounded_up(n_atoms, max(ATOMS, n_atoms // SHARE)), rounded_up(n_slots, SLOTS)
        largest = WASTE * prod(least)
        fitting = [s for s in self.recorded if s[0] >= n_atoms and s[1] >= n_slots and prod(s) <= largest]
        return min(fitting, key=prod, default=least)

    def padded(
        self, displacements: Tensor, senders: Tensor, species: Tensor, shape: tuple[int, int]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """With more slots, and with atoms that have no neighbours."""
        missing = shape[0] - len(senders)
        far = 2 * self.network.representation.settings.cutoff
        displacements, senders = with_slots(displacements, senders, shape[1], far)
        more = pad(displacements, (0, 0, 0, 0, 0, missing), value=far), pad(senders, (0, 0, 0, missing))
        return *more, pad(species, (0, missing))

    def record(self, tensors: tuple[Tensor, Tensor, Tensor]) -> PairSlopes:
        make = graphed if tensors[0].device.type == "cuda" else generated
        with compiler_at_hand():
            made = make(Network(self.model), tensors)
            self.check(made, tensors)  # the first call compiles
        return made

    def check(self, made: PairSlopes, tensors: tuple[Tensor, Tensor, Tensor]) -> None:
        """Values and a gradient against those of the network."""
        parameters = trained(self.network)
        with awake(self.network.energy_head):
            found, own = (values_and_gradients(function, tensors, parameters) for function in (made, self.network))
            double = copy.deepcopy(self.network).double()
        in_double = tuple(tensor.double() if tensor.is_floating_point() else tensor for tensor in tensors)
        exact = values_and_gradients(double, in_double, trained(double))
        refuse_beyond_rounding(found, own, exact, self.model.dtype, "train with training.compile: false")


def trained(network: nn.Module) -> list[nn.Parameter]:
    """Parameters that are not frozen."""
    return [parameter for parameter in network.parameters() if parameter.requires_grad]


@contextmanager
def awake(head: nn.Module) -> Iterator[None]:
    """A readout with an opinion: a new one says zero, of which nothing that comes before it has a gradient."""
    before = [parameter.detach().clone() for parameter in head.parameters()]
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(torch.linspace(-1, 1, parameter.numel()).to(parameter).view_as(parameter))
        try:
            with torch.enable_grad():
                yield
        finally:
            for parameter, value in zip(head.parameters(), before, strict=True):
                parameter.copy_(value)


def refuse_more_than_a_network(config: ModelConfig) -> None:
    """raises  ValueError"""
    if config.energy != "none" or config.repulsion != "none":
        raise ValueError(
            f"training.compile is for models with energy: none and repulsion: none, this one has {config.energy} and "
            f"{config.repulsion}; leave it out."
        )


def graphed(network: nn.Module, tensors: tuple[Tensor, ...]) -> PairSlopes:
    """A CUDA graph of the network, and one of the gradient by its parameters."""
    return cast(PairSlopes, torch.cuda.make_graphed_callables(network, tensors, allow_unused_input=True))


def generated(network: nn.Module, tensors: tuple[Tensor, ...]) -> PairSlopes:
    """Compiled code of the network, and of the gradient by its parameters."""
    names, parameters = zip(*network.named_parameters(), strict=True)

    def function(values: tuple[Tensor, ...], *tensors: Tensor) -> tuple[Tensor, Tensor]:
        return functional_call(network, dict(zip(names, values, strict=True)), tensors)

    operations = recorded(function, tuple(p.detach().requires_grad_() for p in parameters), *tensors)
    for node in operations.graph.find_nodes(op="call_function", target=torch.ops.aten.detach.default):
        node.replace_all_uses_with(node.args[0])  # recorded where slopes use values again, which parameters move too
    operations.recompile()
    code = torch.compile(operations, fullgraph=True, dynamic=False, options=INDUCTOR)
    return lambda *tensors: code(parameters, *tensors)


def values_and_gradients(
    function: PairSlopes, tensors: tuple[Tensor, ...], parameters: list[nn.Parameter]
) -> tuple[Tensor, ...]:
    """Energies, slopes, and the gradient of a sum of them with different signs and sizes."""
    values = function(*tensors)
    weights = [torch.linspace(-1, 1, v.numel(), dtype=v.dtype, device=v.device).view_as(v) for v in values]
    gradients = torch.autograd.grad(values, parameters, weights, allow_unused=True, materialize_grads=True)
    return *(value.detach().clone() for value in values), torch.cat([gradient.flatten() for gradient in gradients])
