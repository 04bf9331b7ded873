"""Predictions beside labels, and the loss made of their differences.

Units make the weights transferable between soft and stiff systems. With s, the root mean square force of
the training set, the terms are mean squares (or Huber penalties) of

    energy   error per atom / (s · 1 Å)                      forces   error of a component / s
    stress   error of a component · volume per atom / (s · 1 Å)
    charges  error / 1 e                                     dipole   error of a component / 1 e Å
    born_charges  error of a component / 1 e

each averaged over the values that are labelled in the batch, times the weight of their structure.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from cace_qeq.prediction import Prediction
from cace_qeq.structures import PROPERTIES, AtomicBatch, Labels
from cace_qeq.training.config import Consistency, TrainingConfig, Weights


@dataclass(frozen=True)
class Comparison:
    """One property where it is labelled.

    reference  (value,)  energy eV/atom, forces eV/Å, stress eV/Å³, charges e, dipole e Å, born_charges e
    predicted  (value,)
    to_loss    (value,)  factor from that unit to the unit of the loss
    weight     (value,)  of the structure
    """

    reference: Tensor
    predicted: Tensor
    to_loss: Tensor
    weight: Tensor

    @property
    def error(self) -> Tensor:
        return self.predicted - self.reference


def compare(
    prediction: Prediction,
    labels: Labels,
    batch: AtomicBatch,
    force_scale: float,
    born_charges: Tensor | None = None,
) -> tuple[Comparison, ...]:
    """A comparison for each of PROPERTIES, empty where nothing is labelled.

    force_scale   eV/Å  s, root mean square force of the training set
    born_charges  (atom, 3, 3)  e, of the model, NaN for structures without; None where they are not compared
    """
    n_atoms = torch.bincount(batch.structure, minlength=batch.n_structures).to(labels.energy)
    volume_per_atom = (batch.volumes / n_atoms)[:, None, None]
    one = torch.ones_like(n_atoms[:1])
    energy, forces, stress, charges, dipole, born = labels.weights.unbind(1)
    per_atom = batch.structure
    found = torch.full_like(labels.born_charges, torch.nan) if born_charges is None else born_charges
    comparable = torch.where(found.isnan(), torch.nan, labels.born_charges)
    return (
        labelled(labels.energy / n_atoms, prediction.energy / n_atoms, one / force_scale, energy),
        labelled(labels.forces, prediction.forces, one / force_scale, forces[per_atom, None]),
        labelled(labels.stress, prediction.stress, volume_per_atom / force_scale, stress[:, None, None]),
        labelled(labels.charges, prediction.charges, one, charges[per_atom]),
        labelled(labels.dipole, prediction.dipole, one, dipole[:, None]),
        labelled(comparable, found, one, born[per_atom, None, None]),
    )


def labelled(label: Tensor, prediction: Tensor, to_loss: Tensor, weight: Tensor) -> Comparison:
    exists = label.isfinite()
    of_value = (factor.expand_as(label)[exists] for factor in (to_loss, weight))
    return Comparison(label[exists], prediction[exists], *of_value)


@dataclass(frozen=True)
class Loss:
    """What errors cost.

    weights      of the properties
    delta        size beyond which a penalty turns from square to linear; infinite for squares
    consistency  terms without labels of their own, if any
    """

    weights: Weights
    delta: float = float("inf")
    consistency: Consistency | None = None

    @classmethod
    def of(cls, config: TrainingConfig, weights: Weights) -> "Loss":
        return cls(weights, config.huber_delta if config.loss == "huber" else float("inf"), config.consistency)

    def penalties(self, comparison: Comparison) -> Tensor:
        """(value,)  x² up to |x| = δ, 2 δ |x| − δ² beyond, times the weight."""
        size = (comparison.error * comparison.to_loss).abs()
        inside = size.clamp(max=self.delta)
        return comparison.weight * inside * (2 * size - inside)

    def total(self, comparisons: tuple[Comparison, ...], counts: Tensor) -> Tensor:
        """Σ weight · Σ penalty / count; terms without weight or labels stay out of the graph.

        counts  (property,)  labelled values of the whole batch, of which this may be a share
        """
        terms = [
            weight * self.penalties(comparison).sum() / count
            for weight, comparison, count in zip(self.weight_list, comparisons, counts.tolist(), strict=True)
            if weight and count
        ]
        return torch.stack(terms).sum() if terms else comparisons[0].predicted.new_zeros((), requires_grad=True)

    @property
    def weight_list(self) -> list[float]:
        """In the order of PROPERTIES."""
        return [getattr(self.weights, name) for name in PROPERTIES]


def count_labels(labels: Labels) -> Tensor:
    """(property,)  number of labelled values of each of PROPERTIES."""
    return torch.stack([getattr(labels, name).isfinite().sum() for name in PROPERTIES]).double()
