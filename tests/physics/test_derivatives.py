"""Forces and stress are the derivatives of the energy: every energy mode, every kind of structure.

Random directions in the space of positions and of strains. A five-point stencil of step h has an error of
h⁴ E⁽⁵⁾/30, below 1e-9 eV/Å for h = 0.0005 Å, and rounding of 1e-13 eV / h, so 1e-6 of the forces is safe.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

import zoo
from cace_qeq.config import ModelConfig
from cace_qeq.model import CACEQEq
from cace_qeq.prediction import differentiable_predict, predict
from cace_qeq.structures import AtomicBatch, collate, to_batch

VARIANTS = {
    "equilibrated": {"environment_hardness": True, "learn_widths": True},
    "equilibrated_readout": {"charge_feedback": "readout"},
    "fewer_elements_than_channels": {"species_channels": 8, "charge_feedback": "embedding"},
    "equilibrated_embedding": {"charge_feedback": "embedding", "background": "gaussian"},
    "coulomb": {"energy": "coulomb", "repulsion": "screened"},
    "coulomb_readout": {"energy": "coulomb", "charge_feedback": "readout", "background": "gaussian"},
    "equilibrated_shells": {"closed_shells": True},
    "coulomb_shells": {"energy": "coulomb", "charge_feedback": "embedding", "closed_shells": True},
    "equilibrated_bonds": {"charge_flow": "bonds"},
    "coulomb_bonds": {"energy": "coulomb", "charge_feedback": "readout", "charge_flow": "bonds"},
    "equilibrated_bonds_shells": {"charge_flow": "bonds", "closed_shells": True},
    "none": {"energy": "none"},
    "equivariant": {"message_rank": 1, "charge_feedback": "readout", "species_channels": 6},
    "residual": {"message_rank": 1, "residual": True, "normalization": "rms", "product_passes": 2, "body_order": 2},
    "equivariant_none": {"message_rank": 2, "layers": 3, "body_order": 2, "energy": "none"},
}
STEP = 5e-4  # Å, and of strain


@pytest.fixture(scope="module", params=VARIANTS)
def model(request) -> CACEQEq:
    """Random parameters everywhere, so that no term of the derivatives is zero by chance."""
    config = ModelConfig(
        species=zoo.SPECIES, cutoff=4.2, channels=4, message_channels=3, hidden=(8,), **VARIANTS[request.param]
    )
    with torch.random.fork_rng():
        torch.manual_seed(11)
        model = CACEQEq(config).double()
        for head in [module for module in model.modules() if type(module).__name__ == "Readout"]:
            for parameter in head.parameters():
                torch.nn.init.normal_(parameter, std=0.2)
        if model.shell_walls is not None:
            model.shell_walls.softness.data.fill_(-1.0)  # 0.37 e, gentle on the scale of the finite differences
    frames = (zoo.water_box(), zoo.crystal(), zoo.silver_anion(), zoo.ethanol(), zoo.slab())  # all elements
    model.calibrate(collate([batch_of(atoms, model) for atoms in frames]))
    return model


def batch_of(atoms, model: CACEQEq) -> AtomicBatch:
    return to_batch(atoms, model.geometry, atoms.info["total_charge"])


def derivative(energy: Callable[[float], float], step: float) -> float:
    """Five-point stencil at zero."""
    return (8 * (energy(step) - energy(-step)) - (energy(2 * step) - energy(-2 * step))) / (12 * step)


def random_direction(shape: tuple[int, ...], seed: int) -> Tensor:
    direction = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return direction / direction.norm()


@pytest.mark.parametrize("name", zoo.EVERYTHING)
def test_forces(model, name):
    atoms = zoo.EVERYTHING[name]()
    if name == "wire" and model.config.energy != "none":
        with pytest.raises(ValueError, match="wires are not supported"):
            batch_of(atoms, model)
        return
    batch = batch_of(atoms, model)
    direction = random_direction((batch.n_atoms, 3), seed=1)

    def energy(step: float) -> float:
        return predict(model, replace(batch, positions=batch.positions + step * direction)).energy.item()

    expected = -derivative(energy, STEP)
    forces = predict(model, batch).forces
    assert (forces * direction).sum().item() == pytest.approx(expected, rel=1e-6, abs=1e-8)


CONDITIONS = [
    zoo.ethanol_in_surroundings,
    zoo.hydronium_at_a_potential,
    zoo.slab_in_a_field,
    zoo.crystal_in_surroundings,
    zoo.slab_in_surroundings,
]


@pytest.mark.parametrize("make", CONDITIONS, ids=lambda make: make.__name__)
def test_forces_under_conditions(model, make):
    batch = batch_of(make(), model)
    direction = random_direction((batch.n_atoms, 3), seed=1)

    def energy(step: float) -> float:
        return predict(model, replace(batch, positions=batch.positions + step * direction)).energy.item()

    prediction = predict(model, batch)
    expected = -derivative(energy, STEP)
    largest = prediction.forces.abs().max().item()  # the direction may be across them
    assert (prediction.forces * direction).sum().item() == pytest.approx(expected, abs=1e-6 * largest)
    assert prediction.atom_energies.sum().item() == pytest.approx(prediction.energy.item(), abs=1e-9)


@pytest.mark.parametrize("name", [*zoo.CRYSTALS, "crystal_in_surroundings"])
def test_stress(model, name):
    batch = batch_of(getattr(zoo, name)(), model)
    direction = random_direction((1, 3, 3), seed=2)
    direction = (direction + direction.transpose(1, 2)) / 2

    def energy(step: float) -> float:
        return predict(model, batch.strained(step * direction)).energy.item()

    expected = derivative(energy, STEP) / batch.volumes.item()
    stress = predict(model, batch).stress
    assert (stress * direction).sum().item() == pytest.approx(expected, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("make", [zoo.slab, zoo.charged_slab, zoo.slab_in_surroundings])
def test_surface_stress(model, make):
    batch = batch_of(make(), model)
    first, second = batch.cells[0, :2]
    normal = torch.linalg.cross(first, second)
    area, normal = normal.norm(), normal / normal.norm()
    plane = torch.eye(3, dtype=torch.float64) - torch.outer(normal, normal)
    direction = random_direction((1, 3, 3), seed=2)
    direction = plane @ (direction + direction.transpose(1, 2)) @ plane / 2

    def energy(step: float) -> float:
        return predict(model, batch.strained(step * direction)).energy.item()

    expected = derivative(energy, STEP) / area.item()
    found = predict(model, batch)
    assert (found.surface_stress * direction).sum().item() == pytest.approx(expected, rel=1e-6, abs=1e-9)
    assert (found.surface_stress @ normal).abs().max() < 1e-14
    assert found.stress.isnan().all()


def test_gradient_of_a_loss_on_forces_and_charges(model):
    """What training follows: second derivatives, through the charges' response too."""
    batch = collate([batch_of(make(), model) for make in (zoo.water, zoo.crystal, zoo.silver_anion)])
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    directions = [random_direction(tuple(p.shape), seed=seed) for seed, p in enumerate(parameters)]

    def loss() -> Tensor:
        prediction = differentiable_predict(model, batch)
        return prediction.forces.square().mean() + prediction.charges.nan_to_num().square().mean()

    gradients = torch.autograd.grad(loss(), parameters, allow_unused=True, materialize_grads=True)
    along = sum((g * d).sum() for g, d in zip(gradients, directions, strict=True)).item()

    def moved(step: float) -> float:
        with torch.no_grad():
            for parameter, direction in zip(parameters, directions, strict=True):
                parameter += step * direction
        value = loss().item()
        with torch.no_grad():
            for parameter, direction in zip(parameters, directions, strict=True):
                parameter -= step * direction
        return value

    assert along == pytest.approx(derivative(moved, 1e-4), rel=1e-6)


def test_a_batch_gives_what_its_structures_give_alone(model):
    batches = [batch_of(atoms, model) for atoms in zoo.unequal()]
    together = predict(model, collate(batches))
    alone = [predict(model, batch) for batch in batches]
    for name in ("energy", "atom_energies", "forces", "stress", "charges", "dipole", "electrostatic_energy"):
        expected = torch.cat([getattr(prediction, name) for prediction in alone])
        torch.testing.assert_close(getattr(together, name), expected, rtol=1e-10, atol=1e-10, equal_nan=True)


def test_parts_add_up(model):
    batch = collate([batch_of(atoms, model) for atoms in zoo.unequal()])
    prediction = predict(model, batch)
    torch.testing.assert_close(prediction.short_range_energy + prediction.electrostatic_energy, prediction.energy)
    sums = torch.zeros_like(prediction.energy).index_add(0, batch.structure, prediction.atom_energies)
    torch.testing.assert_close(sums, prediction.energy, rtol=1e-12, atol=1e-10)
    if model.config.energy != "none":
        charges = torch.zeros_like(prediction.energy).index_add(0, batch.structure, prediction.charges)
        torch.testing.assert_close(charges, batch.total_charge, rtol=0, atol=1e-12)
