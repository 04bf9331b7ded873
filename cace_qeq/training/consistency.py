"""Energies and forces at displaced positions that nobody has labelled, held against what is known nearby.

Takamoto, Zaverkin & Niepert, arXiv 2408.05215.   Equations are those of docs/consistency.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from cace_qeq.model import CACEQEq
from cace_qeq.prediction import Prediction, differentiable_energies, differentiable_predict
from cace_qeq.structures import PROPERTIES, AtomicBatch
from cace_qeq.training.config import Consistency
from cace_qeq.training.data import Example
from cace_qeq.training.loss import Loss, labelled

ENERGY = PROPERTIES.index("energy")


@dataclass(frozen=True)
class Point:
    """Positions of the atoms of a batch, with what is known there.

    positions  (atom, 3)     Å
    energy     (structure,)  eV
    forces     (atom, 3)     eV/Å
    structure  (atom,)       which structure each atom belongs to
    """

    positions: Tensor
    energy: Tensor
    forces: Tensor
    structure: Tensor

    def estimate(self, target: "Point", order: int) -> Tensor:
        """Energy at the target, to this order in the distance.  (structure,) eV   (eqs. C1, C2)"""
        force = self.forces if order == 1 else (self.forces + target.forces) / 2
        work = ((target.positions - self.positions) * force).sum(dim=1)
        return self.energy - torch.zeros_like(self.energy).index_add(0, self.structure, work)


@dataclass(frozen=True)
class ConsistencyLoss:
    """The terms at displaced positions.   (eqs. C3, C4)

    Neighbours and Ewald integers are those of the structures as they were. A pair that enters the cutoff is missed: its
    envelope is of the third power in the step, 1e-5 for 0.02 Å and a cutoff of 4.5 Å.

    settings      weights and order
    loss          penalties of errors
    force_scale   eV/Å  s of the units of the loss
    n_labelled    structures with an energy, in the whole batch
    n_structures  in the whole batch
    """

    settings: Consistency
    loss: Loss
    force_scale: float
    n_labelled: int
    n_structures: int

    def __call__(self, model: CACEQEq, part: Example, prediction: Prediction, steps: Tensor) -> Tensor:
        """What a part of the batch adds.

        prediction  with forces, at the positions of the part
        steps       (2, atom, 3)  Å
        """
        batch, labels, order = part.batch, part.labels, self.settings.order
        there = reached(model, batch, steps[0], slopes=order == 2 or self.settings.spatial > 0)
        here, n_known = Point(batch.positions, prediction.energy, prediction.forces, batch.structure), self.n_structures
        known = here
        if self.settings.about == "labels":
            forces = torch.where(labels.forces.isfinite(), labels.forces, prediction.forces)
            known, n_known = replace(here, energy=labels.energy, forces=forces), self.n_labelled
        terms = []
        if self.settings.taylor and n_known:
            weight = labels.weights[:, ENERGY] if self.settings.about == "labels" else torch.ones_like(there.energy)
            penalty = self.penalty(known.estimate(there, order), there.energy, batch, weight)
            terms.append(self.settings.taylor * penalty / n_known)
        if self.settings.spatial:
            farther = replace(there, positions=there.positions + steps[1])  # enough for the first order
            if order == 2:
                farther = reached(model, batch, steps.sum(dim=0), slopes=True)
            one = torch.ones_like(there.energy)
            penalty = self.penalty(here.estimate(farther, order), there.estimate(farther, order), batch, one)
            terms.append(self.settings.spatial * penalty / self.n_structures)
        return torch.stack(terms).sum() if terms else torch.zeros_like(there.energy).sum()

    def penalty(self, expected: Tensor, found: Tensor, batch: AtomicBatch, weight: Tensor) -> Tensor:
        """The sum over structures that have both.  (structure,) eV each, weight (structure,) -> ()"""
        n_atoms, one = torch.bincount(batch.structure, minlength=batch.n_structures), found.new_ones(())
        per_atom = labelled(expected / n_atoms, found / n_atoms, one / self.force_scale, weight)
        return self.loss.penalties(per_atom).sum()


def reached(model: CACEQEq, batch: AtomicBatch, step: Tensor, *, slopes: bool) -> Point:
    """What the model says after a step; forces are NaN without slopes."""
    displaced = replace(batch, positions=batch.positions + step)
    prediction = (differentiable_predict if slopes else differentiable_energies)(model, displaced)
    return Point(displaced.positions, prediction.energy, prediction.forces, batch.structure)


def random_steps(examples: Sequence[Example], size: float, seed: int) -> list[Tensor]:
    """Two normally distributed steps for each example.  (2, atom, 3) each, Å

    size  Å, standard deviation of each component
    """
    generator = torch.Generator().manual_seed(seed)
    return [size * torch.randn(2, e.batch.n_atoms, 3, dtype=torch.float64, generator=generator) for e in examples]
