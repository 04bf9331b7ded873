"""A healthy model of sodium chloride, and ways to make it sick."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from cace_qeq.doctor import Check, samples
from cace_qeq.doctor.patient import Patient
from cace_qeq.model import CACEQEq, Energies
from cace_qeq.structures import AtomicBatch
from small_models import SMALL, crystal, untrained_model

CUTOFF = SMALL["cutoff"]

Extra = Callable[[AtomicBatch], Tensor]  # (atom,)  eV


@functools.cache
def healthy() -> CACEQEq:
    """One for all tests, which leave it as it is."""
    return untrained_model(crystal())


def on(model: CACEQEq, name: str) -> Patient:
    """The model on one of the doctor's own structures."""
    return Patient.of(model, samples(model.config.species)[name])


def failed(checks: Sequence[Check]) -> list[str]:
    """Names of the checks that did not pass; there has to be something to check."""
    assert checks
    return [check.name for check in checks if not check.passed]


def with_extra(extra: Extra) -> CACEQEq:
    """The healthy model and another energy."""

    class Tampered(CACEQEq):
        def forward(self, batch: AtomicBatch) -> Energies:
            energies = super().forward(batch)
            return replace(energies, short_range=energies.short_range + extra(batch))

    return copied(Tampered)


def copied(kind: type[CACEQEq]) -> CACEQEq:
    """The healthy model as another class."""
    sick = kind(healthy().config).double()
    sick.load_state_dict(healthy().state_dict())
    return sick.eval()


def squared(batch: AtomicBatch) -> Tensor:
    """(atom, slot)  Å²"""
    return batch.displacements().square().sum(-1)


def weight(batch: AtomicBatch) -> Tensor:
    """(atom, slot)  falls smoothly to zero at the cutoff"""
    return (1 - squared(batch) / CUTOFF**2).clamp(min=0) ** 5


def uneven(batch: AtomicBatch) -> Tensor:
    """Differs with direction."""
    return 0.1 * (weight(batch) * batch.displacements()[..., 0].square()).sum(1)


def ordered(batch: AtomicBatch) -> Tensor:
    """Differs with the order of atoms."""
    return 0.1 * weight(batch).sum(1) * torch.arange(batch.n_atoms)


def handed(batch: AtomicBatch) -> Tensor:
    """A triple product of vectors to the neighbours, which a mirror inverts."""
    weights = [weight(batch) * squared(batch).clamp(max=CUTOFF**2) ** power for power in (0, 1, 2)]
    vectors = [(one.unsqueeze(-1) * batch.displacements()).sum(1) for one in weights]
    return 1e3 * torch.linalg.det(torch.stack(vectors, dim=1))


def stepped(batch: AtomicBatch) -> Tensor:
    """Counts neighbours."""
    return 1e-4 * (squared(batch) < CUTOFF**2).sum(1)


def steep(batch: AtomicBatch) -> Tensor:
    """Smooth: forces fall to zero at the cutoff with the square of the distance to it, but from great heights."""
    return 3e4 * (CUTOFF - squared(batch).clamp(min=1e-12).sqrt()).clamp(min=0).pow(3).sum(1)


def kinked(batch: AtomicBatch) -> Tensor:
    """Falls to zero at the cutoff in a straight line."""
    return 1e-3 * (CUTOFF - squared(batch).sqrt()).clamp(min=0).sum(1)


def forceless(batch: AtomicBatch) -> Tensor:
    """Depends on places, but says no force."""
    return 0.1 * weight(batch).sum(1).detach()


def stressless(batch: AtomicBatch) -> Tensor:
    """Depends on the cell alone, but says no stress."""
    return 1e-3 * batch.volumes.detach()[batch.structure]


def counting_waves(batch: AtomicBatch) -> Tensor:
    """Changes as reciprocal vectors enter."""
    return torch.full((batch.n_atoms,), 1e-5 * batch.ewald.triplets.shape[1], dtype=torch.float64)
