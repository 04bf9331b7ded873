"""This package: its presets without charges, and "equivalent", the function of CACE's water model."""

from typing import Any

import torch
from ase import Atoms
from ase.data import atomic_numbers
from lightning_fabric import Fabric

from cace_qeq import CACEQEq, CACEQEqCalculator, ModelConfig, predict
from cace_qeq.structures import AtomicBatch, Labels, collate, to_batch
from cace_qeq.training.config import Weights
from cace_qeq.training.data import Example
from cace_qeq.training.loss import Loss
from cace_qeq.training.step import SharedGradient
from serving import Job, Step

# One message round of scalars with about as many parameters as CACE's water model (69 thousand).
EQUIVALENT = {"layers": 2, "n_radial": 6, "l_max": 3, "body_order": 3, "channels": 32, "message_channels": 20}
SKIN = 0.5  # Å, the calculator's default


class CACEQEqEngine:
    def load(self, job: Job) -> int:
        torch.manual_seed(0)
        species = tuple(sorted(atomic_numbers[symbol] for symbol in job.symbols))
        self.model = CACEQEq(config(job.model, species, job.cutoff)).to(getattr(torch, job.dtype))
        return sum(parameter.numel() for parameter in self.model.parameters())

    def forces(self, frames: list[Atoms]) -> Step:
        model = self.model.eval().requires_grad_(False)
        batch = self.batch(frames)
        return lambda: predict(model, batch)

    def train(self, frames: list[Atoms]) -> Step:
        examples = [Example(batch, zero_labels(batch)) for batch in map(self.single, frames)]
        gradient = SharedGradient(Fabric(accelerator="cpu"), self.model.train(), force_scale=1.0)
        optimizer = torch.optim.AdamW(gradient.parameters)
        loss = Loss(Weights(energy=1.0, forces=1.0))

        def step() -> None:
            gradient.assign(gradient(examples, loss)[0])
            optimizer.step()

        return step

    def calculator(self, keep_neighbors: bool) -> Any:
        return CACEQEqCalculator(self.model, skin=SKIN if keep_neighbors else 0.0)

    def batch(self, frames: list[Atoms]) -> AtomicBatch:
        return collate([self.single(atoms) for atoms in frames])

    def single(self, atoms: Atoms) -> AtomicBatch:
        return to_batch(atoms, self.model.geometry, 0.0)


def config(name: str, species: tuple[int, ...], cutoff: float) -> ModelConfig:
    if name == "equivalent":
        return ModelConfig(species=species, cutoff=cutoff, energy="none", **EQUIVALENT)
    return ModelConfig.preset(name, species=species, cutoff=cutoff, energy="none")


def zero_labels(batch: AtomicBatch) -> Labels:
    """Energy and forces alone."""
    missing = torch.full((batch.n_structures, 3, 3), torch.nan, dtype=torch.float64)
    return Labels(
        energy=torch.zeros(batch.n_structures, dtype=torch.float64),
        forces=torch.zeros_like(batch.positions),
        stress=missing,
        charges=torch.full_like(batch.masses, torch.nan),
        dipole=missing[:, 0],
    )


ENGINE = CACEQEqEngine
