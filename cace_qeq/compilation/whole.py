"""All of a model without charges as one piece of code, from positions to predictions."""

import copy
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.functional import pad

from cace_qeq.compilation.code import (
    SLOTS,
    Code,
    Tensors,
    compiler_at_hand,
    made_of,
    refuse_beyond_rounding,
    rounded_up,
)
from cace_qeq.compilation.network import Network
from cace_qeq.model import CACEQEq
from cace_qeq.prediction import Prediction, summed_over_pairs
from cace_qeq.structures import AtomicBatch, Neighbors


@dataclass(frozen=True)
class Suited:
    """What batches share that hold the same tensors but for positions and cells: those of steps of dynamics.

    wider  the neighbours in rows that are as long as the code wants them
    """

    numbers: Tensor
    pbc: Tensor
    neighbors: Neighbors
    dtype: torch.dtype
    species: Tensor
    wider: Neighbors
    code: Code  # tensors of `tensors_of` -> those of Prediction

    def to(self, batch: AtomicBatch, dtype: torch.dtype) -> bool:
        shared = self.numbers is batch.numbers and self.pbc is batch.pbc and self.neighbors is batch.neighbors
        return shared and self.dtype == dtype


class GeneratedCode:
    """Predictions of a model that is a network alone.

    Code is generated when a number of atoms, boundaries, or more neighbours than before are met first, and stands for
    parameters that do not change.

    Raises RuntimeError if the generated code does not say what the network says, ValueError without a compiler.
    """

    def __init__(self, model: CACEQEq):
        self.model = model
        self.generated: dict[Any, tuple[int, Code]] = {}  # slots and code
        self.suited: Suited | None = None

    def __call__(self, batch: AtomicBatch) -> Prediction:
        """Raises ValueError for a batch that the model refuses."""
        self.model.refuse_batch_of_another(batch.geometry)
        if self.suited is None or not self.suited.to(batch, self.model.dtype):
            self.suited = self.suited_to(batch, self.model.dtype)
        suited = self.suited
        with torch.no_grad():
            return Prediction(*suited.code(*tensors_of(batch, suited.wider, suited.species)))

    def suited_to(self, batch: AtomicBatch, dtype: torch.dtype) -> Suited:
        species, n_slots = self.model.species(batch.numbers), batch.neighbors.index.shape[1]
        kind = batch.n_atoms, batch.pbc.numpy().tobytes(), dtype
        if kind not in self.generated or self.generated[kind][0] < n_slots:
            width = rounded_up(n_slots, SLOTS)
            self.generated[kind] = width, self.generate(batch, wider(batch.neighbors, width), species)
        width, code = self.generated[kind]
        return Suited(batch.numbers, batch.pbc, batch.neighbors, dtype, species, wider(batch.neighbors, width), code)

    def __deepcopy__(self, memo: dict[int, Any]) -> "GeneratedCode":
        """Of the model alone: a copy may come to have other parameters."""
        return GeneratedCode(copy.deepcopy(self.model, memo))

    def generate(self, batch: AtomicBatch, neighbors: Neighbors, species: Tensor) -> Code:
        model, tensors = copy.deepcopy(self.model), tensors_of(batch, neighbors, species)
        own, exact = evaluation(model, batch), evaluation(copy.deepcopy(model).double(), batch)
        with compiler_at_hand(), torch.no_grad():
            code = made_of(make_fx(own)(*tensors), tensors)
            found = code(*tensors)
        references = model.reference_energies.index_select(0, species)  # whose digits would hide those of energies
        found, expected, true = (checked(Prediction(*v), references) for v in (found, own(*tensors), exact(*tensors)))
        refuse_beyond_rounding(found, expected, true, model.dtype, "use the model without compiling it")
        return code


def checked(prediction: Prediction, references: Tensor) -> Tensors:
    """What generated code must not get wrong; those that have no stress have none in each."""
    stresses = (each.nan_to_num() for each in (prediction.stress, prediction.surface_stress))
    return prediction.atom_energies - references, prediction.forces, *stresses


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


def tensors_of(batch: AtomicBatch, neighbors: Neighbors, species: Tensor) -> Tensors:
    """All that predictions depend on."""
    table = neighbors.index, neighbors.shift, neighbors.mask
    return batch.positions, batch.cells, batch.structure, *table, species


def wider(table: Neighbors, n_slots: int) -> Neighbors:
    """With rows of a number of slots, the new ones empty."""
    missing = n_slots - table.index.shape[1]
    if missing == 0:
        return table
    return Neighbors(
        pad(table.index, (0, missing)), pad(table.shift, (0, 0, 0, missing)), pad(table.mask, (0, missing))
    )
