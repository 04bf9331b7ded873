"""The network recorded: what operations cost to be called, which is most of the time of a molecule, is saved.

On a processor torch.fx records the operations of one evaluation, and torch.compile turns them and their derivatives
into C++: of a model without charges all that lies between positions, energies and slopes, of others the features and
their derivatives apart. Measured to pay for structures of up to about a hundred atoms on one core. On a GPU they become
CUDA graphs.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.nn.functional import pad

from cace_qeq.model import CACEQEq
from cace_qeq.nn.ace import CartesianACE, Environments
from cace_qeq.nn.equivariant import EquivariantACE
from cace_qeq.prediction import Prediction, summed_over_pairs
from cace_qeq.structures import AtomicBatch, Neighbors

SLOTS = 8  # by which tables of neighbours grow
# the pattern matcher of torch 2.13 gets some gradients wrong that were recorded with their function
INDUCTOR: dict[str, str | int | bool | Callable[..., Any]] = {"pattern_matcher": False}
IN_ONE_CALL = {"cpp_wrapper": True}  # no Python between the kernels
LEAST_ROUNDING = {torch.float32: 1e-5, torch.float64: 1e-12}  # that is expected, relative to the largest value
MOST_ROUNDING = 10.0  # times that of the network: sums are taken in another order

Tensors = tuple[Tensor, ...]
Features = Callable[[Tensor, Tensor, Tensor], Tensor]
"""displacements (atom, 3, slot), senders (atom, slot), species (atom,) -> (atom, feature)"""
Code = Callable[..., Tensors]
"""tensors of `tensors_of` -> those of Prediction"""


class Network(nn.Module):
    """What atoms contribute to the energy, and its slopes by the displacements to their neighbours."""

    def __init__(self, model: CACEQEq):
        super().__init__()
        self.representation, self.energy_head = model.representation, model.energy_head

    @torch.enable_grad()
    def forward(self, displacements: Tensor, senders: Tensor, species: Tensor) -> tuple[Tensor, Tensor]:
        """-> (atom,) and (atom, 3, slot), in units of the energy head, both differentiable by parameters"""
        place = displacements.detach().requires_grad_()
        around = Environments(place, senders, None, self.representation.settings)
        energies = self.energy_head(self.representation(around, species))
        (slopes,) = torch.autograd.grad(energies.sum(), place, create_graph=True)
        return energies, slopes


class GeneratedCode:
    """Predictions of a model that is a network alone.

    Code is generated when a number of atoms, boundaries, or more neighbours than before are met first, and stands for
    parameters that do not change.

    Raises RuntimeError if the generated code does not say what the network says, ValueError without a compiler.
    """

    def __init__(self, model: CACEQEq):
        self.model = model
        self.generated: dict[Any, tuple[int, Code]] = {}  # slots and code
        self.numbers = self.species = torch.zeros(0, dtype=torch.int64)  # of the last batch

    def __call__(self, batch: AtomicBatch) -> Prediction:
        """Raises ValueError for a batch that the model refuses."""
        self.model.refuse_batch_of_another(batch.geometry)
        if self.numbers is not batch.numbers:
            self.numbers, self.species = batch.numbers, self.model.species(batch.numbers)
        species, n_slots = self.species, batch.neighbors.index.shape[1]
        kind = batch.n_atoms, batch.pbc.numpy().tobytes(), self.model.dtype
        if kind not in self.generated or self.generated[kind][0] < n_slots:
            width = rounded_up(n_slots, SLOTS)
            self.generated[kind] = width, self.generate(wider(batch, width), species)
        width, code = self.generated[kind]
        with torch.no_grad():
            return Prediction(*code(*tensors_of(wider(batch, width), species)))

    def __deepcopy__(self, memo: dict[int, Any]) -> "GeneratedCode":
        """Of the model alone: a copy may come to have other parameters."""
        return GeneratedCode(copy.deepcopy(self.model, memo))

    def generate(self, batch: AtomicBatch, species: Tensor) -> Code:
        model, tensors = copy.deepcopy(self.model), tensors_of(batch, species)
        own, exact = evaluation(model, batch), evaluation(copy.deepcopy(model).double(), batch)
        with compiler_at_hand(), torch.no_grad():
            code = made_of(make_fx(own)(*tensors), tensors)
            found = code(*tensors)
        references = model.reference_energies.index_select(0, species)  # whose digits would hide those of energies
        found, expected, true = (checked(Prediction(*v), references) for v in (found, own(*tensors), exact(*tensors)))
        refuse_beyond_rounding(found, expected, true, model.dtype, "use the model without compiling it")
        return code


def checked(prediction: Prediction, references: Tensor) -> Tensors:
    """What generated code must not get wrong."""
    several = prediction.atom_energies - references, prediction.forces, prediction.stress, prediction.surface_stress
    return tuple(values for values in several if not values.isnan().all())


def made_of(operations: GraphModule, tensors: Tensors) -> Code:
    """Code without the guards of torch.compile, which for a molecule take a fifth of its time.

    tensors  like those that it will be called with; of their values none matters
    """
    for node in operations.graph.nodes:
        node.meta.clear()  # examples, each recorded apart
    examples = FakeTensorMode(shape_env=ShapeEnv())  # which torch needs to find code that it has made before
    alike: list[Any] = [examples.from_tensor(tensor, static_shapes=True) for tensor in tensors]
    code: Code = torch._inductor.compile(operations, alike, options=INDUCTOR | IN_ONE_CALL)
    return code


def evaluation(model: CACEQEq, batch: AtomicBatch) -> Code:
    """What is recorded: nothing in it depends on values.

    batch  of which all that is not among the arguments counts for nothing
    """
    network, geometry = Network(model), model.geometry

    def evaluate(*tensors: Tensor) -> Tensors:
        positions, cells, structure, index, shift, mask, species = tensors
        table = Neighbors(index, shift, mask)
        moved = replace(
            batch, positions=positions, cells=cells, structure=structure, neighbors=table, geometry=geometry
        )
        prediction = summed_over_pairs(model, moved, species, network)
        return tuple(getattr(prediction, field.name) for field in fields(Prediction))

    return evaluate


def tensors_of(batch: AtomicBatch, species: Tensor) -> Tensors:
    """All that predictions depend on."""
    table = batch.neighbors
    return batch.positions, batch.cells, batch.structure, table.index, table.shift, table.mask, species


def wider(batch: AtomicBatch, n_slots: int) -> AtomicBatch:
    """The batch with rows of a number of slots, the new ones empty."""
    table = batch.neighbors
    missing = n_slots - table.index.shape[1]
    if missing == 0:
        return batch
    more = Neighbors(
        pad(table.index, (0, missing)), pad(table.shift, (0, 0, 0, missing)), pad(table.mask, (0, missing))
    )
    return replace(batch, neighbors=more)


class CompiledRepresentation(nn.Module):
    """A representation in code that is generated when a number of atoms, or more neighbours than before, are met first.

    It has first derivatives by the displacements and no others, and stands for parameters that do not change.

    Raises RuntimeError if the generated code does not say what the representation says, ValueError without a compiler.
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
            width = rounded_up(n_slots, SLOTS)
            self.generated[n_atoms] = width, self.generate(self.padded(around, width), species)
        width, features = self.generated[n_atoms]
        return features(*self.padded(around, width), species)

    def __deepcopy__(self, memo: dict[int, Any]) -> "CompiledRepresentation":
        """Of the network alone: a copy may come to compute in another precision."""
        return CompiledRepresentation(copy.deepcopy(self.representation, memo))

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
            self.check(generated, *example)  # the first call compiles
        return generated

    def compiled(self, *example: Tensor) -> Features:
        with torch.no_grad():
            operations = make_fx(lambda *tensors: self.plain(*tensors))(*example)  # it miscounts bound methods
        generated: Features = torch.compile(operations, fullgraph=True, dynamic=False, options=INDUCTOR)
        return generated

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


@contextmanager
def compiler_at_hand() -> Iterator[None]:
    """Raise ValueError where torch finds no compiler, or one that fails."""
    try:
        yield
    except RuntimeError as error:
        if not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"no code could be generated ({reason}); install a C++ compiler such as g++, or do without compiling."
        ) from error


def refuse_beyond_rounding(found: Tensors, own: Tensors, exact: Tensors, dtype: torch.dtype, advice: str) -> None:
    """Raise RuntimeError where generated code does not say what the network says; the tensors of `times_rounding`."""
    times = times_rounding(found, own, exact, LEAST_ROUNDING[dtype])
    if not times < MOST_ROUNDING:
        raise RuntimeError(
            f"the generated code differs from the network by {times:.2g} times its rounding errors; {advice}, "
            "and report this with the versions of torch and the compiler."
        )


def times_rounding(found: Tensors, own: Tensors, exact: Tensors, least: float) -> float:
    """How many times as far from exact values as a function's own values others are, at most; NaN if one is.

    found, own  from computing in the precision of the function
    exact       in double precision
    least       error of the function's own that is expected, relative to the largest value
    """
    times = []
    for one, other, true in zip(found, own, exact, strict=True):
        away, rounding = ((value - true).abs().max() / true.abs().max().clamp(min=1e-30) for value in (one, other))
        times.append(away / rounding.clamp(min=least))
    return float(torch.stack(times).max().detach())


def rounded_up(number: int, unit: int) -> int:
    """A multiple of the unit, and at least one."""
    return unit * max(1, -(-number // unit))


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


def compile_networks(potential: nn.Module) -> None:
    """Let a model, or all members of a committee, compute by generated code: for evaluation alone.

    On a processor that is the whole of a model without charges; of others, and on a GPU, its features.
    """
    for model in potential.modules():
        if not isinstance(model, CACEQEq) or isinstance(model.representation, CompiledRepresentation):
            continue
        if model.is_network_alone and model.reference_energies.device.type == "cpu":
            model.generated = GeneratedCode(model)
        else:
            model.set_submodule("representation", CompiledRepresentation(model.representation))
