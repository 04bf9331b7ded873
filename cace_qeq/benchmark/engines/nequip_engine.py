"""NequIP's presets with random weights; "S" runs eagerly, "S compiled" as its own tools compile it, through ASE too."""

from pathlib import Path
from typing import Any

import torch
from ase import Atoms
from nequip.data import AtomicDataDict, from_ase
from nequip.data.transforms import ChemicalSpeciesToAtomTypeMapper, NeighborListTransform
from nequip.integrations.ase import NequIPCalculator
from nequip.model import PresetNequIPGNNModel
from nequip.nn.compile import DictInputOutputWrapper
from nequip.scripts._compile_utils import AOTI_ASE_TARGET, COMPILE_TARGET_DICT
from nequip.utils.aot import aot_export_model
from nequip.utils.global_state import set_global_state

from .job import Job
from .serving import Step
from .targets import Predicted, Scale, Target

COMPILED = " compiled"
WATER = Scale()


class NequIP:
    def load(self, job: Job, scale: Scale = WATER) -> int:
        set_global_state()
        self.device = job.device
        self.compiled = job.model.endswith(COMPILED)
        self.package = Path(job.frames).parent / f"{'-'.join((job.model, job.dtype, *job.symbols))}.nequip.pt2"
        self.model = PresetNequIPGNNModel(
            preset=job.model.removesuffix(COMPILED),
            compile_mode="compile" if self.compiled and job.work in ("train", "fit") else "eager",
            seed=torch.initial_seed() % 2**31,
            model_dtype=job.dtype,
            r_max=job.cutoff,
            type_names=list(job.symbols),
            avg_num_neighbors=scale.neighbors,
            per_type_energy_scales=scale.forces,
            per_type_energy_shifts=0.0,
        ).to(job.device)
        self.transforms = [
            ChemicalSpeciesToAtomTypeMapper(model_type_names=list(job.symbols)),
            NeighborListTransform(r_max=job.cutoff),
        ]
        return sum(parameter.numel() for parameter in self.model.parameters())

    def forces(self, frames: list[Atoms]) -> Step:
        model = self.evaluated(frames)
        data = AtomicDataDict.to_(self.prepared(frames), self.device)
        return lambda: model(data.copy())

    def evaluated(self, frames: list[Atoms]) -> Any:
        if not self.compiled:
            return self.model.eval().requires_grad_(False)
        example = frames[0].copy()
        if not example.cell.any():
            example.center(vacuum=1.0)  # the tools compare stress too, which needs a volume
        data = AtomicDataDict.to_(self.prepared([example]), self.device)
        return exported(self.model, data, self.package, self.device)

    def train(self, frames: list[Atoms]) -> Step:
        single = [self.prepared([atoms]) for atoms in frames]
        data = AtomicDataDict.to_(AtomicDataDict.batched_from_list(single), self.device)
        n_atoms = data[AtomicDataDict.NUM_NODES_KEY].view(-1, 1)
        model = self.model.train()
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

        def step() -> None:
            optimizer.zero_grad()
            found = model(data.copy())
            energy = (found[AtomicDataDict.TOTAL_ENERGY_KEY] / n_atoms).square().mean()
            (energy + found[AtomicDataDict.FORCE_KEY].square().mean()).backward()
            optimizer.step()

        return step

    def begin(self, job: Job, scale: Scale, frames: list[Atoms], targets: list[Target]) -> None:
        self.load(job, scale)

    def sample(self, atoms: Atoms) -> dict[str, torch.Tensor]:
        return self.prepared([Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)])

    def join(self, samples: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        return AtomicDataDict.batched_from_list(samples)

    def predicted(self, batch: dict[str, torch.Tensor]) -> Predicted:
        found = self.model(batch)
        energy, forces = found[AtomicDataDict.TOTAL_ENERGY_KEY][:, 0], found[AtomicDataDict.FORCE_KEY]
        return Predicted(energy, forces, stress=found.get(AtomicDataDict.STRESS_KEY))

    def calculator(self, atoms: Atoms, keep_neighbors: bool) -> Any:
        return NequIPCalculator(self.evaluated([atoms]).eval(), self.device, transforms=self.transforms)

    def prepared(self, frames: list[Atoms]) -> dict[str, torch.Tensor]:
        """One frame without the entries of a batch, as the calculator has it."""
        data = from_ase(frames[0])
        for transform in self.transforms:
            data = transform(data)
        return data


def exported(model: torch.nn.Module, data: dict[str, torch.Tensor], path: Path, device: str) -> Any:
    """What `nequip-compile --mode aotinductor --target ase` makes of a model; it fits any number of atoms.

    path  of the package, made once for all processes of a run: that takes a minute
    """
    target = COMPILE_TARGET_DICT[AOTI_ASE_TARGET]
    sizes = {
        name: torch.export.dynamic_shapes.Dim(f"num_{name}", min=2, max=torch.inf)  # type: ignore[arg-type]
        for name in ("node", "edge")
    }
    if not path.exists():
        aot_export_model(
            model, device, target["input"], target["output"], target["data_settings"](data.copy()),
            target["batch_map_settings"](sizes), str(path),
        )  # fmt: skip
    return DictInputOutputWrapper(torch._inductor.aoti_load_package(str(path)), target["input"], target["output"])


ENGINE = NequIP
