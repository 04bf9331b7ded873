"""Every preset as it is, and invariants of high degree and order: symmetries to 1e-12, forces to 1e-8, on environments
of every kind. No charges, whose own laws are tested elsewhere.

Largest force of order 1 eV/Å. A five-point stencil of step h errs by h⁴ E⁽⁵⁾/30 and by rounding, 1e-15 eV / h: with
h = 0.0005 Å both stay below 1e-8 eV/Å.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms

import zoo
from cace_qeq.config import PRESETS, ModelConfig
from cace_qeq.model import CACEQEq
from cace_qeq.nn.heads import Readout
from cace_qeq.prediction import predict
from cace_qeq.structures import AtomicBatch, collate, to_batch

CUTOFF = 4.0
STEP = 5e-4  # Å
EXACT = 1e-12  # of the largest number


def random_cluster() -> Atoms:
    positions = np.random.default_rng(0).normal(scale=1.6, size=(9, 3))
    return Atoms("C3O3H3", positions + 1.2 * np.indices((3, 3)).reshape(2, 9).T @ np.eye(2, 3))


def linear() -> Atoms:
    return Atoms("HCCH", [[x, 0, 0] for x in (0.0, 1.06, 2.27, 3.33)])


def planar() -> Atoms:
    return Atoms("OHHC", [[0, 0, 0], [0.96, 0.1, 0], [-0.3, 0.9, 0], [0.2, -1.4, 0]])


def single_neighbor() -> Atoms:
    return Atoms("CO", [[0.1, 0.2, 0.3], [0.5, 0.9, 1.0]])


def at_the_cutoff() -> Atoms:
    """The first atom has others just inside, at and just outside of the cutoff."""
    near, far = [0.9, -0.7, 0.4], [0, 0, CUTOFF + 1e-4]
    return Atoms("C5", [[0, 0, 0], [CUTOFF, 0, 0], [0, CUTOFF - 1e-4, 0], near, far])


SPECIAL = {f.__name__: f for f in (random_cluster, linear, planar, single_neighbor, at_the_cutoff)}


FEW = {"channels": 2, "n_radial": 3, "hidden": (8,)}
SETTINGS = {name: (name, {}) for name in PRESETS} | {
    "degree 6, order 4": ("XS", {"l_max": 6, "body_order": 4, **FEW}),
    "degree 5, order 5": ("XS", {"l_max": 5, "body_order": 5, **FEW}),
}


@pytest.fixture(scope="module", params=SETTINGS)
def model(request) -> CACEQEq:
    preset, changes = SETTINGS[request.param]
    config = ModelConfig.preset(preset, species=(1, 6, 8, 11, 17), cutoff=CUTOFF, energy="none", **changes)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = CACEQEq(config).double()
        for head in (module for module in model.modules() if isinstance(module, Readout)):
            for parameter in head.parameters():
                torch.nn.init.normal_(parameter, std=0.5 / parameter.shape[-1] ** 0.5)
    model.calibrate(collate([to_batch(make(), model.geometry, 0.0) for make in (random_cluster, zoo.ethanol, linear)]))
    return model


def batch_of(atoms: Atoms, model: CACEQEq) -> AtomicBatch:
    return to_batch(atoms, model.geometry, 0.0)


def assert_same(found: torch.Tensor, expected: torch.Tensor, scale: float) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=EXACT * max(scale, 1.0))


@pytest.mark.parametrize("name", [*SPECIAL, "crystal"])
def test_symmetries(model, name):
    atoms = (SPECIAL | zoo.CRYSTALS)[name]()
    order = np.random.default_rng(1).permutation(len(atoms))
    before = predict(model, batch_of(atoms, model))
    energy, force = before.energy.abs().max().item(), before.forces.abs().max().item()
    for handedness in (1.0, -1.0):
        turn = handedness * zoo.rotation(seed=7)
        moved = atoms[order]
        moved.set_cell(atoms.cell.array @ turn)
        moved.positions = atoms.positions[order] @ turn + [0.7, -0.2, 1.9]
        after = predict(model, batch_of(moved, model))
        assert_same(after.energy, before.energy, energy)
        assert_same(after.forces, before.forces[order.tolist()] @ torch.from_numpy(turn), force)


def test_supercell(model):
    atoms = zoo.crystal()
    once, twice = (predict(model, batch_of(structure, model)) for structure in (atoms, atoms.repeat((2, 1, 1))))
    assert_same(twice.energy, 2 * once.energy, once.energy.abs().max().item())
    assert_same(twice.forces, once.forces.repeat(2, 1), once.forces.abs().max().item())


@pytest.mark.parametrize("name", SPECIAL)
def test_forces(model, name):
    batch = batch_of(SPECIAL[name](), model)
    direction = torch.randn(batch.n_atoms, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    direction /= direction.norm()

    def energy(step: float) -> float:
        return predict(model, replace(batch, positions=batch.positions + step * direction)).energy.item()

    slope = (8 * (energy(STEP) - energy(-STEP)) - (energy(2 * STEP) - energy(-2 * STEP))) / (12 * STEP)
    forces = predict(model, batch).forces
    assert forces.abs().max() > 1e-3
    tolerance = 1e-8 * max(1.0, forces.abs().max().item())
    assert (forces * direction).sum().item() == pytest.approx(-slope, rel=0, abs=tolerance)
