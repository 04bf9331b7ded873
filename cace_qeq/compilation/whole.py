"""All of a model as one piece of code, from positions to predictions."""

import copy
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from cace_qeq.compilation.charged import is_alone, predicted_alone
from cace_qeq.compilation.code import (
    Code,
    Tensors,
    Watched,
    compiler_at_hand,
    made_of,
    recorded,
    refuse_beyond_rounding,
    times_written,
)
from cace_qeq.compilation.features import CompiledRepresentation
from cace_qeq.compilation.network import Network
from cace_qeq.compilation.tables import Sizes, Tables
from cace_qeq.model import CACEQEq
from cace_qeq.prediction import Prediction, predict, summed_over_pairs
from cace_qeq.structures import AtomicBatch, Neighbors, Pairs

MADE = tuple(field.name for field in fields(Prediction) if field.name != "external_forces")
FAILED = -1  # where code says whether its charges have
DISPLACEMENT = 0.05  # Å, of atoms where code is tried


@dataclass(frozen=True)
class Suited:
    """What batches share that hold the same numbers, boundaries and neighbours: those of steps of dynamics.

    like     one of them
    written  how often torch had seen the tensors that they share change
    filled   its tables, as long as the code wants them
    """

    like: AtomicBatch
    written: int
    dtype: torch.dtype
    species: Tensor
    filled: Tables
    code: Code  # tensors of `tensors_of` -> those of `evaluation`

    def suits(self, batch: AtomicBatch, dtype: torch.dtype) -> bool:
        like = self.like
        shared = like.numbers is batch.numbers and like.pbc is batch.pbc and like.neighbors is batch.neighbors
        same_sums = like.ewald is batch.ewald or self.filled.ewald is None
        return shared and same_sums and self.dtype == dtype and self.written == written_into(batch)


class GeneratedCode:
    """Predictions of a model that is a network alone, or has charges (`charged.has_plain_charges`): of those, of one
    structure (`charged.is_alone`).

    Code is generated when a number of atoms, boundaries, or longer tables than before are met first, and again when
    parameters have changed.

    Raises RuntimeError if the generated code does not say what the network says, ValueError without a compiler.
    """

    def __init__(self, model: CACEQEq):
        self.model = model
        self.generated: dict[Any, tuple[Sizes, Code]] = {}
        self.suited: Suited | None = None
        self.watched: Watched | None = None  # since code was looked for

    def __call__(self, batch: AtomicBatch) -> Prediction | None:
        """None for a batch that code is not made for.

        Raises ValueError for a batch that the model refuses, and where charges are not found.
        """
        batch.refuse_inference_mode()
        if not (self.model.is_network_alone or is_alone(self.model, batch)):
            return None
        self.model.refuse_half_precision()
        self.model.refuse_batch_of_another(batch.geometry)
        if self.watched is not None and self.watched.has_changed:
            self.suited = None
            self.generated.clear()
        suited = self.suited
        if suited is None or not suited.suits(batch, self.model.dtype):
            self.suited = suited = self.suited_to(batch, self.model.dtype)
            self.watched = Watched(self.model)
        with torch.no_grad():
            values = suited.code(*tensors_of(batch, suited.filled, suited.species))
        if values[FAILED]:
            return predict(uncompiled(self.model), batch)  # says what is wrong
        return predicted(batch, values)

    def suited_to(self, batch: AtomicBatch, dtype: torch.dtype) -> Suited:
        species = self.model.species(batch.numbers)
        summed = not self.model.is_network_alone and batch.periodic
        tables = Tables(batch.neighbors, batch.ewald if summed else None)
        kind = batch.n_atoms, batch.pbc.numpy().tobytes(), dtype
        known = self.generated.get(kind)
        if known is None or not known[0].covers(tables.sizes):
            sizes = tables.sizes.with_room(known[0] if known else None)
            known = self.generated[kind] = sizes, self.generate(batch, tables.filled(sizes), species)
        sizes, code = known
        return Suited(batch, written_into(batch), dtype, species, tables.filled(sizes), code)

    def __deepcopy__(self, memo: dict[int, Any]) -> "GeneratedCode":
        """Of the model alone: a copy may come to have other parameters."""
        return GeneratedCode(copy.deepcopy(self.model, memo))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled without code, which is made again where it is asked for."""
        return GeneratedCode, (self.model,)

    def generate(self, batch: AtomicBatch, tables: Tables, species: Tensor) -> Code:
        model, tensors = uncompiled(self.model), tensors_of(batch, tables, species)
        own, exact = evaluation(model, batch), evaluation(copy.deepcopy(model).double(), batch)
        with compiler_at_hand(), torch.no_grad():
            code = made_of(recorded(own, *tensors), tensors)
        positions, *others = tensors
        noise = torch.randn(positions.shape, dtype=positions.dtype, generator=torch.Generator().manual_seed(0))
        elsewhere = positions + DISPLACEMENT * noise, *others  # where no force is small by symmetry or at a minimum
        references = model.reference_energies.index_select(0, species)  # whose digits would hide those of energies
        answers = (predicted(batch, function(*elsewhere)) for function in (code, own, exact))
        found, expected, true = (checked(answer, references, model.energy_scale) for answer in answers)
        refuse_beyond_rounding(found, expected, true, model.dtype, "use the model without compiling it")
        return code


def written_into(batch: AtomicBatch) -> int:
    """How often torch has seen the integers of a batch change."""
    return times_written((batch.numbers, batch.pbc, *Tables(batch.neighbors, batch.ewald).tensors))


def predicted(batch: AtomicBatch, values: Tensors) -> Prediction:
    """From what code says of a batch; external charges feel nothing of a network."""
    external = torch.zeros_like(batch.imposed.external.positions)
    return Prediction(**dict(zip(MADE, values[:FAILED], strict=True)), external_forces=external)


def checked(prediction: Prediction, references: Tensor, typical: Tensor) -> Tensors:
    """What generated code must not get wrong; those that have no stress or charges have none in each.

    typical  eV/Å, a force: that on the only atom of a cell is zero, and its rounding errors are those of its parts
    """
    others = (each.nan_to_num() for each in (prediction.stress, prediction.surface_stress, prediction.charges))
    forces = torch.cat([prediction.forces, typical.to(prediction.forces).expand(1, 3)])
    return prediction.atom_energies - references, forces, *others


def evaluation(model: CACEQEq, batch: AtomicBatch) -> Code:
    """What is recorded: the fields of MADE, and whether charges have failed, by operations that depend on no values.

    batch  of whose other tensors the boundaries alone count
    """
    network, geometry = Network(model), model.geometry

    def evaluate(*tensors: Tensor) -> Tensors:
        positions, cells, structure, species, masses, total_charge, field, *tables = tensors
        moved = replace(
            batch,
            positions=positions,
            cells=cells,
            structure=structure,
            masses=masses,
            neighbors=Neighbors(*tables[:3]),
            total_charge=total_charge,
            imposed=replace(batch.imposed, field=field),
            geometry=geometry,
        )
        if sums := tables[3:]:
            triplets, split = sums[3:]
            moved = replace(moved, ewald=replace(batch.ewald, pairs=Pairs(*sums[:3]), triplets=triplets, split=split))
        if model.is_network_alone:
            prediction, failed = summed_over_pairs(model, moved, species, network), torch.zeros_like(structure[0])
        else:
            prediction, failed = predicted_alone(model, moved, species)
        return *(getattr(prediction, name) for name in MADE), failed

    return evaluate


def uncompiled(model: CACEQEq) -> CACEQEq:
    """A copy that computes by no generated code."""
    copied = copy.deepcopy(model)
    copied.generated = None
    if isinstance(copied.representation, CompiledRepresentation):
        copied.set_submodule("representation", copied.representation.representation)
    return copied


def tensors_of(batch: AtomicBatch, tables: Tables, species: Tensor) -> Tensors:
    """All that predictions depend on beside the boundaries, as the code expects it in memory."""
    of_structures = batch.total_charge, batch.imposed.field
    floats = batch.positions.double(), batch.cells.double()
    given = *floats, batch.structure, species, batch.masses, *of_structures, *tables.tensors
    return tuple(tensor.contiguous() for tensor in given)
