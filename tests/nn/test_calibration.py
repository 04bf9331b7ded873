"""Calibration on structures whose symmetry forbids much of what others have."""

import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from cace_qeq import CACEQEq, ModelConfig, predict
from cace_qeq.structures import collate, to_batch


@pytest.mark.parametrize("lengths", [[3.61], [3.5, 3.6, 3.7, 3.8]], ids=["one", "several"])
@pytest.mark.parametrize("preset", ["XS", "S", "M"])
def test_perfect_crystals_teach_nothing_about_rattled_ones(preset, lengths):
    """Moments that vanish by symmetry had been divided by nearly nothing: a rattled crystal had 1e39 eV."""
    torch.manual_seed(0)
    model = CACEQEq(ModelConfig.preset(preset, species=(29,), cutoff=4.5, energy="none"))
    model.calibrate(collate([to_batch(bulk("Cu", "fcc", a=a), model.geometry, 0.0) for a in lengths]))
    with torch.no_grad():
        for parameter in model.energy_head.parameters():
            parameter.add_(0.1)
    rattled = bulk("Cu", "fcc", a=3.61, cubic=True)
    rattled.rattle(0.05, seed=1)
    forces = predict(model, to_batch(rattled, model.geometry, 0.0)).forces
    assert 0 < float(forces.abs().max()) < 1e4


def test_degrees_of_ordinary_structures_have_unit_size():
    torch.manual_seed(0)
    model = CACEQEq(ModelConfig.preset("XS", species=(29,), cutoff=4.5, energy="none"))
    atoms = bulk("Cu", "fcc", a=3.61, cubic=True) * (2, 2, 2)
    atoms.rattle(0.3, seed=2)
    batch = to_batch(atoms, model.geometry, 0.0)
    model.calibrate(batch)
    features = model.representation(model.environments(batch), model.species(batch.numbers)).detach()
    invariants = features[:, model.config.species_channels :]
    assert torch.allclose(invariants.mean(0), torch.zeros(()), atol=1e-4)
    assert float(invariants.std(0, unbiased=False).median()) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("rank", [0, 1])
def test_an_atom_alone_teaches_nothing(rank):
    torch.manual_seed(0)
    model = CACEQEq(ModelConfig(species=(1, 8), cutoff=4.0, message_rank=rank, energy="none"))
    model.calibrate(to_batch(Atoms("O"), model.geometry, 0.0))
    batch = to_batch(molecule("H2O"), model.geometry, 0.0)
    features = model.representation(model.environments(batch), model.species(batch.numbers)).detach()
    assert 0 < float(features.abs().max()) < 1e4
