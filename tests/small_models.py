"""A small trained model for dynamics, and untrained ones with gentle forces."""

import functools
from collections.abc import Sequence
from typing import Any

import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.morse import MorsePotential
from torch import nn

from cace_qeq.config import ModelConfig
from cace_qeq.model import CACEQEq
from cace_qeq.nn.heads import Readout
from cace_qeq.prediction import differentiable_predict
from cace_qeq.structures import AtomicBatch, collate, to_batch

SMALL = {"cutoff": 4.0, "channels": 4, "n_radial": 4, "hidden": (8,), "layers": 1}
MORSE = {"epsilon": 0.5, "r0": 2.8, "rho0": 5.0, "rcut1": 1.2, "rcut2": 1.38}  # nearest neighbours only
N_STEPS = 80  # of training; three seconds, and forces to 0.25 eV/Å


def crystal() -> Atoms:
    """Rock salt, slightly disordered."""
    atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    atoms.rattle(0.05, seed=1)
    return atoms


def cluster() -> Atoms:
    """The cube that rock salt is made of, as a molecule."""
    atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    atoms.set_cell(None)
    atoms.pbc = False
    atoms.positions %= 5.6  # corners of one cube
    atoms.rattle(0.05, seed=2)
    return atoms


def untrained_model(atoms: Atoms, seed: int = 0, **changes: Any) -> CACEQEq:
    """A model in double precision with random readouts, calibrated on rattled copies of a structure.

    changes  of the configuration
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        species = sorted(set(atoms.numbers.tolist()))
        model = CACEQEq(ModelConfig(species=species, **{**SMALL, **changes})).double()
        model.calibrate(collate([to_batch(one, model.geometry, 0.0) for one in rattled(atoms, 5)]))
        for readout in (module for module in model.modules() if isinstance(module, Readout)):
            wake(readout)
    return model.eval()


@torch.no_grad()
def wake(readout: Readout) -> None:
    """Readouts start at zero; give them an opinion."""
    for parameter in readout.parameters():
        nn.init.normal_(parameter, std=0.1 / parameter.shape[-1] ** 0.5)


def rattled(atoms: Atoms, n_copies: int) -> Sequence[Atoms]:
    copies = [atoms.copy() for _ in range(n_copies)]
    for seed, copy in enumerate(copies):
        copy.rattle(0.15, seed=seed)
    return copies


@functools.cache
def trained_model() -> CACEQEq:
    """Sodium chloride bound by Morse springs: `crystal` and `cluster` hold together in it.

    One for all tests, which leave it as it is.
    """
    frames = [*rattled(crystal(), 10), *rattled(cluster(), 10)]
    model = untrained_model(crystal())
    batch = collate([to_batch(atoms, model.geometry, 0.0) for atoms in frames])
    forces = torch.cat([torch.from_numpy(spring_forces(atoms)) for atoms in frames])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(N_STEPS):
        optimizer.zero_grad()
        loss = force_loss(model, batch, forces)
        loss.backward()
        optimizer.step()
    return model


def spring_forces(atoms: Atoms) -> Any:
    return MorsePotential(**MORSE).get_forces(atoms)


def force_loss(model: CACEQEq, batch: AtomicBatch, forces: torch.Tensor) -> torch.Tensor:
    return (differentiable_predict(model, batch).forces - forces).square().mean()
