"""The same training for every code: one loop, one loss, one schedule, and a budget of CPU seconds or epochs.

Every code gets the same frames in the same order, the same loss, optimiser, moving average and schedule; learning rates
are those that the codes recommend. Reference energies of the elements are fitted to what each untrained model lacks, so
that none begins with an error that is the same in every frame.
The schedule follows the share of the budget that steps have taken; validation, neighbour lists and compilation do not
count.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Protocol

import numpy as np
import torch
from ase import Atoms
from ase.neighborlist import neighbor_list

from .job import Job
from .memory import peak_kilobytes
from .optimizing import Optimizer
from .plan import FitPlan, energy_weight, rate_factor, score
from .targets import (
    ErrorSums,
    Predicted,
    Scale,
    Target,
    energy_of,
    joined,
    loss,
    nested,
    read,
    reference_energies,
    target,
)

CHECKS = 20  # validations, evenly over the budget
AVERAGE, CLIP = 0.99, 10.0
NUDGE = 0.05  # Å, of all atoms together, by which forces are tried
TOLD = 0.5  # s, of training between two words of how far it is

Tell = Callable[[dict[str, float]], None]


class Learner(Protocol):
    """What an engine offers for training."""

    model: torch.nn.Module

    def begin(self, job: Job, scale: Scale, frames: list[Atoms], targets: list[Target]) -> None:
        """Random weights, and whatever the code sets from its training frames."""

    def sample(self, atoms: Atoms) -> Any:
        """A frame with its neighbours."""

    def join(self, samples: list[Any]) -> Any:
        """A batch."""

    def predicted(self, batch: Any) -> Predicted:
        """Differentiable if the model is in training mode."""


@dataclass(frozen=True)
class Batches:
    """Frames ready for a code, with their labels."""

    samples: list[Any]
    targets: list[Target]

    def chosen(self, learner: Learner, indices: list[int]) -> tuple[Any, Target]:
        return learner.join([self.samples[i] for i in indices]), joined([self.targets[i] for i in indices])

    def in_order(self, size: int) -> Iterator[list[int]]:
        for start in range(0, len(self.samples), size):
            yield list(range(start, min(start + size, len(self.samples))))


class Fit:
    """A training that can be broken off and taken up again.

    tell  is told the share of the budget that is done, and after every validation its errors too
    """

    def __init__(self, learner: Learner, plan: FitPlan, tell: Tell):
        self.learner, self.plan, self.tell = learner, plan, tell
        torch.manual_seed(plan.seed)
        train = nested(read(plan.train, plan.box), plan.frames)
        self.references = reference_energies(train, [energy_of(atoms) for atoms in train])
        self.scale = scale_of(train, plan.job.cutoff)
        learner.begin(plan.job, self.scale, train, [target(atoms, self.references) for atoms in train])
        self.train = self.labelled(train)
        for number, energy in reference_energies(train, self.lacking()).items():
            self.references[number] += energy
        self.train = Batches(self.train.samples, [target(atoms, self.references) for atoms in train])
        self.valid = self.labelled(read(plan.valid, plan.box))
        self.weights = [parameter for parameter in learner.model.parameters() if parameter.requires_grad]
        self.average = [weight.detach().clone() for weight in self.weights]
        self.optimizer = Optimizer(plan.optimizer, learner.model)
        self.best = [weight.clone() for weight in self.average]
        self.spent, self.steps, self.history = 0.0, 0, list[dict[str, float]]()

    def labelled(self, frames: list[Atoms]) -> Batches:
        samples = [self.learner.sample(atoms) for atoms in frames]
        return Batches(samples, [target(atoms, self.references) for atoms in frames])

    def refuse_wrong_forces(self, atoms: Atoms) -> None:
        """raises  ValueError unless forces are the slope of the energy: an engine has mistaken units or signs"""
        self.learner.model.eval()
        forces = self.alone(atoms).forces.detach().double().numpy()
        size = float(np.linalg.norm(forces))
        if size == 0:
            return  # of a model that has not begun to learn
        energies = []
        for distance in (NUDGE, -NUDGE):
            moved = atoms.copy()
            moved.positions += distance * forces / size
            energies.append(float(self.alone(moved).energy.detach()))
        slope = (energies[1] - energies[0]) / (2 * NUDGE)
        if not abs(slope - size) < 0.1 * size:
            raise ValueError(
                f"{self.plan.job.model}: along its forces, {size:.4g} eV/Å, energy falls by {slope:.4g} eV/Å."
            )

    def alone(self, atoms: Atoms) -> Predicted:
        return self.learner.predicted(self.learner.join([self.learner.sample(atoms)]))

    def lacking(self) -> list[float]:
        """What the untrained model lacks of the energy of each training frame, eV."""
        self.learner.model.eval()
        found = []
        for indices in self.train.in_order(self.plan.batch):
            batch, label = self.train.chosen(self.learner, indices)
            found += (label.energy - self.learner.predicted(batch).energy.detach()).tolist()
        return found

    def run(self) -> dict[str, Any]:
        """Train until the budget is spent; errors, times and memory."""
        self.resume()
        self.gradient(self.indices(0), 1.0)  # whatever is compiled or allocated once
        told = 0.0
        while self.done < 1:
            started = time.process_time()
            self.step()
            self.spent += time.process_time() - started
            if self.done >= (len(self.history) + 1) / CHECKS:
                self.check()
            if self.spent >= told + TOLD:
                told = self.spent
                self.tell({"done": self.done})
        self.restore(self.best)
        frames = read(self.plan.held_out, self.plan.box)
        self.refuse_wrong_forces(frames[0])
        held_out = self.labelled(frames)
        errors, seconds_per_atom = self.errors(held_out)
        return {
            "errors": errors,
            "history": self.history,
            "training_seconds": self.spent,
            "steps": self.steps,
            "epochs": self.steps / self.steps_per_epoch,
            "seconds_per_atom": seconds_per_atom,
            "peak_memory_mb": peak_kilobytes() / 1024,
            "parameters": sum(weight.numel() for weight in self.weights),
            "frames": len(self.train.samples),
        }

    @property
    def done(self) -> float:
        """Share of the budget."""
        if self.plan.epochs:
            return self.steps / (self.plan.epochs * self.steps_per_epoch)
        return self.spent / self.plan.seconds

    @property
    def steps_per_epoch(self) -> int:
        return max(1, len(self.train.samples) // self.plan.batch)

    def indices(self, step: int) -> list[int]:
        """Frames of a step: epochs are permutations that only the seed decides."""
        epoch, place = divmod(step, self.steps_per_epoch)
        order = np.random.default_rng([self.plan.seed, epoch]).permutation(len(self.train.samples))
        return order[place * self.plan.batch : (place + 1) * self.plan.batch].tolist()

    def step(self) -> None:
        done = self.done
        self.gradient(self.indices(self.steps), energy_weight(done, self.plan))
        torch.nn.utils.clip_grad_norm_(self.weights, CLIP)
        self.optimizer.step(self.plan.learning_rate * rate_factor(done))
        self.steps += 1
        decay = min(AVERAGE, self.steps / (9 + self.steps))
        torch._foreach_lerp_(self.average, [weight.detach() for weight in self.weights], 1 - decay)

    def gradient(self, indices: list[int], energy_weight: float) -> None:
        self.learner.model.train()
        self.optimizer.zero_grad()
        batch, label = self.train.chosen(self.learner, indices)
        weights = (energy_weight, self.plan.charge_weight)
        loss(self.learner.predicted(batch), label, self.scale, weights).backward()

    def check(self) -> None:
        """Validate the average, keep it if it is the best, and save.

        raises  FloatingPointError for predictions that are not finite
        """
        with self.averaged():
            errors, _ = self.errors(self.valid)
        self.history.append({"seconds": self.spent, "steps": self.steps, **errors})
        if score(self.history[-1], self.plan) == min(score(row, self.plan) for row in self.history):
            self.best = [weight.clone() for weight in self.average]
        self.save()
        self.tell({"done": self.done, **self.history[-1]})

    def errors(self, batches: Batches) -> tuple[dict[str, float], float]:
        """Errors, and CPU seconds per atom of energies and forces in batches of the training's size."""
        self.learner.model.eval()
        self.differentiable(False)
        sums, times = ErrorSums(), []
        for indices in batches.in_order(self.plan.batch):
            batch, label = batches.chosen(self.learner, indices)
            started = time.process_time()
            predicted = self.learner.predicted(batch)
            times.append((time.process_time() - started) / int(label.n_atoms.sum()))
            sums.add(predicted, label)
        self.differentiable(True)
        return sums.results(), median(times)

    def differentiable(self, by_weights: bool) -> None:
        for weight in self.weights:
            weight.requires_grad_(by_weights)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The model with the averaged weights."""
        current = [weight.detach().clone() for weight in self.weights]
        self.restore(self.average)
        yield
        self.restore(current)

    @torch.no_grad()
    def restore(self, values: list[torch.Tensor]) -> None:
        for weight, value in zip(self.weights, values, strict=True):
            weight.copy_(value)

    def save(self) -> None:
        """The file appears whole or not at all."""
        path = Path(self.plan.state)
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}")
        torch.save(self.state(), unfinished)
        unfinished.replace(path)

    def state(self) -> dict[str, Any]:
        return {
            "conditions": self.plan.conditions,
            "weights": [weight.detach() for weight in self.weights],
            "average": self.average,
            "best": self.best,
            "optimizer": self.optimizer.steps.state_dict(),
            "progress": (self.spent, self.steps, self.history),
        }

    def resume(self) -> None:
        """raises  ValueError for the state of a training under other conditions"""
        if not Path(self.plan.state).is_file():
            return
        state = torch.load(self.plan.state, weights_only=True)
        if state.get("conditions") != self.plan.conditions:
            raise ValueError(f"{self.plan.state} is of a training under other conditions; delete it to begin anew.")
        self.restore(state["weights"])
        self.average, self.best = state["average"], state["best"]
        self.optimizer.steps.load_state_dict(state["optimizer"])
        self.spent, self.steps, self.history = state["progress"]


def scale_of(frames: list[Atoms], cutoff: float) -> Scale:
    forces = np.concatenate([atoms.arrays["REF_forces"].ravel() for atoms in frames])
    counts = [len(neighbor_list("i", atoms, cutoff)) / len(atoms) for atoms in frames[:20]]
    return Scale(float(np.sqrt(np.mean(forces**2))), float(np.mean(counts)))
