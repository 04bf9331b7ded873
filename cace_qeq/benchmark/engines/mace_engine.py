"""MACE with random weights; the size is written as its hidden irreps, e.g. "128x0e+128x1o"."""

from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.data import atomic_numbers
from mace import data, modules
from mace.calculators import MACECalculator
from mace.modules.models import o3  # by way of mace, which makes torch load the constants of e3nn
from mace.tools import AtomicNumberTable, torch_geometric

from .job import Job
from .serving import Step
from .targets import Predicted, Scale, Target

WATER = Scale()
INTERACTION = modules.interaction_classes["RealAgnosticResidualInteractionBlock"]


class MACE:
    """Two layers, l_max 3, correlation 3, all else as `mace_run_train` has it by default."""

    def load(self, job: Job, scale: Scale = WATER) -> int:
        torch.set_default_dtype(getattr(torch, job.dtype))
        numbers = sorted(atomic_numbers[symbol] for symbol in job.symbols)
        self.table, self.cutoff, self.device = AtomicNumberTable(numbers), job.cutoff, job.device
        self.model = modules.ScaleShiftMACE(
            r_max=job.cutoff, num_bessel=8, num_polynomial_cutoff=5, max_ell=3,
            interaction_cls=INTERACTION, interaction_cls_first=INTERACTION, num_interactions=2,
            num_elements=len(numbers), hidden_irreps=o3.Irreps(job.model), MLP_irreps=o3.Irreps("16x0e"),
            gate=torch.nn.functional.silu, atomic_energies=np.zeros(len(numbers)), avg_num_neighbors=scale.neighbors,
            atomic_numbers=numbers, correlation=3, radial_MLP=[64, 64, 64],
            atomic_inter_scale=scale.forces, atomic_inter_shift=0.0,
        ).to(job.device)  # fmt: skip
        return sum(parameter.numel() for parameter in self.model.parameters())

    def forces(self, frames: list[Atoms]) -> Step:
        batch = self.batch(frames)
        model = self.model.eval().requires_grad_(False)
        return lambda: model(batch.copy(), compute_force=True, compute_stress=True)

    def train(self, frames: list[Atoms]) -> Step:
        batch = self.batch(frames)
        n_atoms = torch.tensor([len(atoms) for atoms in frames], device=self.device)
        optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3, amsgrad=True)

        def step() -> None:
            optimizer.zero_grad()
            found = self.model(batch.copy(), training=True, compute_force=True)
            ((found["energy"] / n_atoms).square().mean() + found["forces"].square().mean()).backward()
            optimizer.step()

        return step

    def calculator(self, atoms: Atoms, keep_neighbors: bool) -> Any:
        precision = str(torch.get_default_dtype()).removeprefix("torch.")
        return MACECalculator(models=self.model, device=self.device, default_dtype=precision)

    def begin(self, job: Job, scale: Scale, frames: list[Atoms], targets: list[Target]) -> None:
        self.load(job, scale)

    def sample(self, atoms: Atoms) -> data.AtomicData:
        bare = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
        return data.AtomicData.from_config(data.config_from_atoms(bare), z_table=self.table, cutoff=self.cutoff)

    def join(self, samples: list[data.AtomicData]) -> dict[str, torch.Tensor]:
        return dict(torch_geometric.batch.Batch.from_data_list(samples).to_dict())

    def predicted(self, batch: dict[str, torch.Tensor]) -> Predicted:
        training, periodic = self.model.training, bool(batch["pbc"].all())
        found = self.model(batch, training=training, compute_force=True, compute_stress=periodic and not training)
        return Predicted(found["energy"], found["forces"], stress=found["stress"])

    def batch(self, frames: list[Atoms]) -> dict[str, torch.Tensor]:
        batch = self.join([self.sample(atoms) for atoms in frames])
        return {name: value.to(self.device) if torch.is_tensor(value) else value for name, value in batch.items()}


ENGINE = MACE
