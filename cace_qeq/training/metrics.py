"""Root mean square and mean absolute errors of a model on labelled structures."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cace_qeq.config import ModelConfig
from cace_qeq.model import CACEQEq
from cace_qeq.prediction import predict
from cace_qeq.response import predict_born_charges
from cace_qeq.structures import PROPERTIES, AtomicBatch, Labels
from cace_qeq.training.config import Weights
from cace_qeq.training.data import Example
from cace_qeq.training.loss import Comparison, Loss, compare

REPORTED = {
    "energy": ("mev_per_atom", 1000.0),
    "forces": ("mev_per_angstrom", 1000.0),
    "stress": ("mev_per_angstrom3", 1000.0),
    "charges": ("me", 1000.0),
    "dipole": ("e_angstrom", 1.0),
    "born_charges": ("me", 1000.0),
}
"""Suffix of each property's reported names, and the factor to it from eV, Å and e."""

OF_CHARGES = ("charges", "dipole", "born_charges")
"""Properties that models without charges do not predict."""

Metrics = dict[str, float | int | None]


@dataclass
class Tally:
    """Running sums over labelled values, one row per property of PROPERTIES; rows of processes add up.

    sums  (property, 4)  number of values, Σ |error|, Σ error², Σ penalty
    """

    sums: Tensor

    @classmethod
    def empty(cls) -> "Tally":
        return cls(torch.zeros(len(PROPERTIES), 4, dtype=torch.float64))

    def add(self, comparisons: tuple[Comparison, ...], loss: Loss) -> None:
        for row, comparison in zip(self.sums, comparisons, strict=True):
            error = comparison.error.detach()
            penalty = loss.penalties(comparison).detach().sum()
            row += torch.stack([error.new_tensor(len(error)), error.abs().sum(), error.square().sum(), penalty]).cpu()

    def loss(self, loss: Loss) -> float:
        """The loss of everything added, as if it had been one batch."""
        rows = zip(loss.weight_list, self.sums.tolist(), strict=True)
        return sum(weight * penalty / count for weight, (count, _, _, penalty) in rows if weight and count)

    def metrics(self) -> Metrics:
        """Errors by reported name; None where nothing is labelled or predicted."""
        found: Metrics = {}
        for name, (count, absolute, square, _) in zip(PROPERTIES, self.sums.tolist(), strict=True):
            suffix, factor = REPORTED[name]
            known = count > 0 and square == square  # a model without charges predicts NaN for them
            found[f"{name}_rmse_{suffix}"] = factor * (square / count) ** 0.5 if known else None
            found[f"{name}_mae_{suffix}"] = factor * absolute / count if known else None
        return found


class Parity(NamedTuple):
    """Reference and predicted values of one property; energy eV/atom, forces eV/Å, stress eV/Å³, e, e Å."""

    reference: NDArray[np.float64]
    predicted: NDArray[np.float64]


def unwatched(n_structures: int) -> None:
    """Nobody looks on."""


@dataclass(frozen=True)
class Evaluation:
    """Errors, and the values they come from of each property that is labelled and predicted."""

    metrics: Metrics
    parity: dict[str, Parity]


def evaluate(model: CACEQEq, batches: Iterable[Example], on_batch: Callable[[int], None] = unwatched) -> Evaluation:
    """Predict batches on the model's device and compare with their labels.

    on_batch  called after each batch with the number of its structures, e.g. to move a progress bar

    raises  FloatingPointError for predictions that are not finite, ValueError for no batches
    """
    device, collected, sizes = model.reference_energies.device, [], []
    for example in batches:
        batch, labels = example.batch.to(device), example.labels.to(device)
        born = born_charges_for(labels, model, batch)
        collected.append(compare(predict(model, batch), labels, batch, 1.0, born))
        refuse_infinite(collected[-1], model.config)
        sizes.append((batch.n_structures, batch.n_atoms))
        on_batch(batch.n_structures)
    return evaluation_of(collected, sizes)


def born_charges_for(labels: Labels, model: CACEQEq, batch: AtomicBatch) -> Tensor | None:
    """(atom, 3, 3)  e; None where nothing is labelled, or the model has no charges"""
    if model.charge_heads is None or not labels.born_charges.isfinite().any():
        return None
    return predict_born_charges(model, batch)


def refuse_infinite(comparisons: tuple[Comparison, ...], config: ModelConfig) -> None:
    """Raise FloatingPointError for a property that a model should predict and does not."""
    for name, comparison in zip(PROPERTIES, comparisons, strict=True):
        missing = int(comparison.predicted.isfinite().logical_not().sum())
        if missing and (config.energy != "none" or name not in OF_CHARGES):
            raise FloatingPointError(
                f"{missing} of {len(comparison.predicted)} predicted values of {name} are not finite; "
                "examine the model and the structure with cace-qeq doctor."
            )


def evaluation_of(collected: Sequence[tuple[Comparison, ...]], sizes: Sequence[tuple[int, int]]) -> Evaluation:
    """Errors of all batches together.

    sizes  structures and atoms of each batch

    Raises ValueError where there is none.
    """
    if not sizes:
        raise ValueError("there are no frames to compare predictions with.")
    tally, loss = Tally.empty(), Loss(Weights(energy=1))
    for comparisons in collected:
        tally.add(comparisons, loss)
    n_structures, n_atoms = (sum(numbers) for numbers in zip(*sizes, strict=True))
    counts: Metrics = {"n_structures": n_structures, "n_atoms": n_atoms}
    parity = parities(collected)
    return Evaluation({**tally.metrics(), **relative_errors(parity), **counts}, parity)


def relative_errors(parity: Mapping[str, Parity]) -> Metrics:
    """Root mean square errors in percent of the labels' standard deviation: 100 is no better than their mean.

    None where nothing is labelled or predicted, or all labels are the same.
    """
    found: Metrics = {}
    for name in PROPERTIES:
        pair = parity.get(name)
        spread = 0.0 if pair is None else float(pair.reference.std())
        error = 0.0 if pair is None else float(np.sqrt(np.mean((pair.predicted - pair.reference) ** 2)))
        found[f"{name}_percent_of_spread"] = 100 * error / spread if spread else None
    return found


def parities(collected: Sequence[tuple[Comparison, ...]]) -> dict[str, Parity]:
    """The comparisons of all batches joined, properties without any value left out."""
    found = {}
    for name, parts in zip(PROPERTIES, zip(*collected, strict=True), strict=True):
        reference = torch.cat([part.reference for part in parts]).cpu()
        predicted = torch.cat([part.predicted for part in parts]).cpu()
        if len(reference) and predicted.isfinite().all():
            found[name] = Parity(reference.numpy(), predicted.numpy())
    return found
