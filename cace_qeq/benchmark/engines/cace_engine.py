"""CACE's water model with random weights: the settings of its water example, one message round."""

from typing import Any

import torch
from ase import Atoms
from ase.build import molecule
from ase.data import atomic_numbers
from cace.calculators import CACECalculator
from cace.data import AtomicData
from cace.models.atomistic import NeuralNetworkPotential
from cace.modules import BesselRBF, PolynomialCutoff
from cace.modules.atomwise import Atomwise
from cace.modules.forces import Forces
from cace.representations import Cace
from cace.tools import torch_geometric

from .job import Job
from .serving import Step
from .targets import Predicted, Scale, Target

ENERGY, FORCES = "CACE_energy", "CACE_forces"


class CACE:
    def load(self, job: Job) -> int:
        if job.device != "cpu":
            raise ValueError(f"CACE is timed on a processor alone, not on {job.device}.")
        torch.set_default_dtype(getattr(torch, job.dtype))
        self.cutoff = job.cutoff
        representation = Cace(
            zs=sorted(atomic_numbers[symbol] for symbol in job.symbols), n_atom_basis=3, embed_receiver_nodes=True,
            cutoff=job.cutoff, cutoff_fn=PolynomialCutoff(cutoff=job.cutoff),
            radial_basis=BesselRBF(cutoff=job.cutoff, n_rbf=6, trainable=True), n_radial_basis=12, max_l=3, max_nu=3,
            num_message_passing=1, type_message_passing=["Bchi"], device=torch.device("cpu"), timeit=False,
        )  # fmt: skip
        readout = Atomwise(n_layers=3, output_key=ENERGY, n_hidden=[32, 16], use_batchnorm=False, add_linear_nn=True)
        forces = Forces(energy_key=ENERGY, forces_key=FORCES)
        self.model = NeuralNetworkPotential(representation=representation, output_modules=[readout, forces])
        self.model(self.join([self.sample(molecule("H2O"))]))  # its readout is built when it first sees features
        return sum(parameter.numel() for parameter in self.model.parameters())

    def begin(self, job: Job, scale: Scale, frames: list[Atoms], targets: list[Target]) -> None:
        self.load(job)

    def forces(self, frames: list[Atoms]) -> Step:
        batch = self.join([self.sample(atoms) for atoms in frames])
        model = self.model.eval().requires_grad_(False)
        return lambda: model(dict(batch))

    def train(self, frames: list[Atoms]) -> Step:
        batch = self.join([self.sample(atoms) for atoms in frames])
        n_atoms = torch.tensor([len(atoms) for atoms in frames])
        model = self.model.train()
        optimizer = torch.optim.Adam(model.parameters())

        def step() -> None:
            optimizer.zero_grad()
            found = model(dict(batch), training=True)
            ((found[ENERGY] / n_atoms).square().mean() + found[FORCES].square().mean()).backward()
            optimizer.step()

        return step

    def calculator(self, atoms: Atoms, keep_neighbors: bool) -> Any:
        return CACECalculator(self.model.eval(), "cpu", energy_key=ENERGY, forces_key=FORCES)

    def sample(self, atoms: Atoms) -> AtomicData:
        bare = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
        return AtomicData.from_atoms(bare, cutoff=self.cutoff)

    def join(self, samples: list[AtomicData]) -> dict[str, torch.Tensor]:
        loader = torch_geometric.dataloader.DataLoader(dataset=samples, batch_size=len(samples), shuffle=False)
        return dict(next(iter(loader)).to_dict())

    def predicted(self, batch: dict[str, torch.Tensor]) -> Predicted:
        found = self.model(dict(batch), training=self.model.training)
        return Predicted(found[ENERGY], found[FORCES])


ENGINE = CACE
