"""One optimiser step that processes share: each takes a part of the batch, gradients add up."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from cace_qeq.model import CACEQEq
from cace_qeq.prediction import Prediction, differentiable_energies, differentiable_predict
from cace_qeq.records import moved
from cace_qeq.response import differentiable_born_charges
from cace_qeq.structures import AtomicBatch, collate_labels
from cace_qeq.training.consistency import ConsistencyLoss, random_steps
from cace_qeq.training.data import Example, joined
from cace_qeq.training.loss import Loss, compare, count_labels
from cace_qeq.training.recorded import RecordedPotential

if TYPE_CHECKING:
    from lightning_fabric import Fabric  # which takes two seconds to import


class SharedGradient:
    """Gradient of the loss of a batch, the same on all processes and for any number of them.

    Geometry is double precision whatever the network is, so Fabric's precision plugins, which cast inputs,
    are not used. Neither is its wrapper around the module: a force loss differentiates inside of it, and a
    stage may leave parameters unused. The sum over processes of one vector does the same.

    force_scale  eV/Å  root mean square force of the training set
    recorded     what predicts in place of the model, if anything does
    """

    def __init__(self, fabric: "Fabric", model: CACEQEq, force_scale: float, recorded: RecordedPotential | None = None):
        self.fabric, self.model, self.force_scale, self.recorded = fabric, model, force_scale, recorded
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def __call__(self, examples: Sequence[Example], loss: Loss, seed: int = 0) -> tuple[Tensor, float]:
        """The gradient (parameter value,), all parameters one after the other, and the loss.

        seed  of the displacements of consistency terms
        """
        value = self.own_part(examples, loss, seed)
        gradients = torch.autograd.grad(value, self.parameters, allow_unused=True, materialize_grads=True)
        total = value.detach().to(gradients[0].dtype)
        vector = torch.cat([*(gradient.flatten() for gradient in gradients), total[None]])
        vector = summed(self.fabric, vector)
        return vector[:-1], float(vector[-1])

    def own_part(self, examples: Sequence[Example], loss: Loss, seed: int) -> Tensor:
        """What this process's examples add to the loss of the whole batch."""
        device = self.fabric.device
        mine = slice(self.fabric.global_rank, None, self.fabric.world_size)
        share = examples[mine]
        if not share:
            return torch.zeros((), dtype=torch.float64, device=device, requires_grad=True)
        counts = count_labels(collate_labels([example.labels for example in examples]))
        part = moved(joined(share), device)
        prediction = self.prediction(part.batch, loss)
        born = self.born_charges(share, part) if loss.weights.born_charges else None
        comparisons = compare(prediction, part.labels, part.batch, self.force_scale, born)
        total = loss.total(comparisons, counts)
        if loss.consistency is None:
            return total
        steps = random_steps(examples, loss.consistency.displacement, seed)[mine]
        term = ConsistencyLoss(loss.consistency, loss, self.force_scale, int(counts[0]), len(examples))
        return total + term(self.model, part, prediction, torch.cat(steps, dim=1).to(device))

    def born_charges(self, share: Sequence[Example], part: Example) -> Tensor | None:
        """(atom, 3, 3)  e, of the structures of a share that are labelled with them, NaN for others"""
        wanted = [example for example in share if example.labels.born_charges.isfinite().any()]
        if not wanted:
            return None
        found = differentiable_born_charges(self.model, moved(joined(wanted), self.fabric.device).batch)
        rows = part.labels.born_charges.isfinite().flatten(1).any(1).nonzero().flatten()
        return torch.full_like(part.labels.born_charges, torch.nan).index_copy(0, rows, found)

    def prediction(self, batch: AtomicBatch, loss: Loss) -> Prediction:
        """What the loss needs."""
        if not (loss.weights.forces or loss.weights.stress or loss.consistency):
            return differentiable_energies(self.model, batch)
        return differentiable_predict(self.model, batch) if self.recorded is None else self.recorded.predict(batch)

    def assign(self, vector: Tensor) -> None:
        """Hand a gradient to the parameters, for the optimiser."""
        start = 0
        for parameter in self.parameters:
            parameter.grad = vector[start : start + parameter.numel()].view_as(parameter)
            start += parameter.numel()


def clipped(gradient: Tensor, largest_norm: float) -> Tensor:
    """The gradient, shortened to a norm."""
    return gradient * (largest_norm / gradient.norm()).clamp(max=1.0)


def summed(fabric: "Fabric", tensor: Tensor) -> Tensor:
    """The sum over processes, on each of them."""
    return cast(Tensor, fabric.all_reduce(tensor, reduce_op="sum"))
