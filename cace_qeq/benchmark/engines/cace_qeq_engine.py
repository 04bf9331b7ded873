"""This package: its presets without charges, and "equivalent", the function of CACE's water model; "compiled" too."""

from typing import Any

import torch
from ase import Atoms
from ase.data import atomic_numbers

from cace_qeq.calculator import CACEQEqCalculator
from cace_qeq.compilation import compile_networks
from cace_qeq.config import ModelConfig
from cace_qeq.model import CACEQEq
from cace_qeq.prediction import differentiable_predict, predict
from cace_qeq.structures import PROPERTIES, AtomicBatch, Labels, collate, to_batch
from cace_qeq.training.config import Weights
from cace_qeq.training.data import Example, filled_batches
from cace_qeq.training.element_charges import fit_element_charges
from cace_qeq.training.loss import Loss
from cace_qeq.training.recorded import RecordedPotential
from cace_qeq.training.step import SharedGradient

from .job import Job
from .serving import Step
from .targets import Predicted, Scale, Target

# CACE's path invariants, one message round of scalars, 6 x (4 + 16) sums over neighbours for every monomial where CACE
# has 12 x 9, and about as many parameters as its water model (69 thousand).
EQUIVALENT = {
    "layers": 2,
    "n_radial": 6,
    "l_max": 3,
    "body_order": 3,
    "channels": 32,
    "message_rank": 0,
    "message_channels": 16,
    "couplings": "paths",
    "hidden": (96, 32),
}
COMPILED = " compiled"
SKIN = 0.5  # Å, the calculator's default
CALIBRATION_ATOMS = 1000


class CACEQEqEngine:
    def load(self, job: Job) -> int:
        species = tuple(sorted(atomic_numbers[symbol] for symbol in job.symbols))
        name = job.model.removesuffix(COMPILED)
        self.compiled = name != job.model
        self.device = job.device
        self.model = CACEQEq(config(name, species, job.cutoff)).to(job.device, getattr(torch, job.dtype))
        self.recorded = RecordedPotential(self.model) if self.compiled and job.work in ("train", "fit") else None
        return sum(parameter.numel() for parameter in self.model.parameters())

    def forces(self, frames: list[Atoms]) -> Step:
        model = self.model.eval().requires_grad_(False)
        if self.compiled:
            compile_networks(model)
        batch = self.batch(frames)
        return lambda: predict(model, batch)

    def train(self, frames: list[Atoms]) -> Step:
        from lightning_fabric import Fabric  # here, as it takes two seconds

        examples = [Example(batch, zero_labels(batch)) for batch in map(self.sample, frames)]
        fabric, model = Fabric(accelerator=self.device, devices=1), self.model.train()
        gradient = SharedGradient(fabric, model, force_scale=1.0, recorded=self.recorded)
        optimizer = torch.optim.AdamW(gradient.parameters)
        loss = Loss(Weights(energy=1.0, forces=1.0))

        def step() -> None:
            gradient.assign(gradient(examples, loss)[0])
            optimizer.step()

        return step

    def begin(self, job: Job, scale: Scale, frames: list[Atoms], targets: list[Target]) -> None:
        """As `cace_qeq.training.prepare`: features and charges of the elements."""
        self.load(job)
        pairs = zip(frames, targets, strict=True)
        examples = [Example(self.sample(atoms), labels_for(label)) for atoms, label in pairs]
        some = next(filled_batches(examples, CALIBRATION_ATOMS, torch.Generator().manual_seed(0)))
        self.model.calibrate(collate([example.batch for example in some]))
        if self.model.config.energy != "none":
            fit_element_charges(self.model, some)
        self.model.set_energy_scale(scale.forces)

    def sample(self, atoms: Atoms) -> AtomicBatch:
        return to_batch(atoms, self.model.geometry, float(atoms.info.get("total_charge", 0.0)))

    def join(self, samples: list[AtomicBatch]) -> AtomicBatch:
        return collate(samples)

    def predicted(self, batch: AtomicBatch) -> Predicted:
        if not self.model.training:
            found = predict(self.model, batch)
        elif self.recorded is None:
            found = differentiable_predict(self.model, batch)
        else:
            found = self.recorded.predict(batch)
        charges = None if self.model.charge_heads is None else found.charges
        dipole = None if found.dipole.isnan().all() else found.dipole  # of crystals, and without charges
        return Predicted(found.energy, found.forces, charges, found.stress, dipole)

    def calculator(self, atoms: Atoms, keep_neighbors: bool) -> Any:
        skin = SKIN if keep_neighbors else 0.0
        return CACEQEqCalculator(self.model, device=self.device, skin=skin, compiled=self.compiled)

    def batch(self, frames: list[Atoms]) -> AtomicBatch:
        return collate([self.sample(atoms) for atoms in frames]).to(self.device)


def config(name: str, species: tuple[int, ...], cutoff: float) -> ModelConfig:
    """A preset, or "equivalent"; "equilibrated" or "coulomb" behind it gives it charges."""
    size, _, energy = name.partition(" ")
    changes: dict[str, Any] = {"species": species, "cutoff": cutoff, "energy": energy or "none"}
    if size == "equivalent":
        return ModelConfig.model_validate({**EQUIVALENT, **changes})
    return ModelConfig.preset(size, **changes)


def labels_for(label: Target) -> Labels:
    """What `begin` needs of a frame."""
    missing = torch.full((1, 3, 3), torch.nan, dtype=torch.float64)
    return Labels(
        energy=label.energy,
        forces=label.forces,
        stress=missing,
        charges=label.charges,
        dipole=missing[:, 0],
        born_charges=missing.expand(len(label.forces), 3, 3),
        weights=missing.new_ones(1, len(PROPERTIES)),
    )


def zero_labels(batch: AtomicBatch) -> Labels:
    """Energy and forces alone."""
    missing = torch.full((batch.n_structures, 3, 3), torch.nan, dtype=torch.float64)
    return Labels(
        energy=torch.zeros(batch.n_structures, dtype=torch.float64),
        forces=torch.zeros_like(batch.positions),
        stress=missing,
        charges=torch.full_like(batch.masses, torch.nan),
        dipole=missing[:, 0],
        born_charges=missing[:1].expand(batch.n_atoms, 3, 3),
        weights=missing.new_ones(batch.n_structures, len(PROPERTIES)),
    )


ENGINE = CACEQEqEngine
