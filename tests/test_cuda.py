"""On a GPU everything is what it is on a processor: predictions, solvers, responses, recorded networks and training.

Sums are taken in another order there, and by atomic additions: double precision agrees to 1e-9 of the largest value,
single precision to 2e-4.
"""

import numpy as np
import pytest
import torch
from torch import Tensor

import zoo
from cace_qeq.calculator import CACEQEqCalculator
from cace_qeq.config import ModelConfig
from cace_qeq.electrostatics import Solver, coulomb_energy
from cace_qeq.model import CACEQEq
from cace_qeq.nn.heads import Readout
from cace_qeq.prediction import predict
from cace_qeq.response import predict_response
from cace_qeq.structures import collate, to_batch
from cace_qeq.training import fit
from small_models import wake
from small_runs import small_config, trimers

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

AGREEMENT = {torch.float32: 2e-4, torch.float64: 1e-9}
STRUCTURES = (
    zoo.ethanol, zoo.hydronium, zoo.one_atom, zoo.crystal, zoo.charged_crystal, zoo.skewed, zoo.left_handed,
    zoo.one_atom_cell, zoo.slab, zoo.charged_slab, zoo.slab_in_a_field, zoo.crystal_in_surroundings,
)  # fmt: skip
FIELDS = ("energy", "forces", "stress", "surface_stress", "charges", "electronegativities", "dipole")


def model_of(preset: str, **changes) -> CACEQEq:
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = CACEQEq(ModelConfig.preset(preset, species=zoo.SPECIES, cutoff=4.2, **changes)).double()
        for head in (module for module in model.modules() if isinstance(module, Readout)):
            wake(head)
    model.calibrate(collate([prepared(make(), model) for make in (zoo.water_box, zoo.crystal, zoo.silver_anion)]))
    return model.eval().requires_grad_(False)


def prepared(atoms, model):
    return to_batch(atoms, model.geometry, atoms.info["total_charge"])


def assert_same(found: Tensor, expected: Tensor, agreement: float, name: str) -> None:
    known = expected.isfinite()
    scale = float(expected[known].abs().max().clamp(min=1e-3)) if known.any() else 1.0
    message = f"{name}: {{}}".format
    torch.testing.assert_close(found.cpu(), expected, rtol=0, atol=agreement * scale, equal_nan=True, msg=message)


def test_batches_are_joined_on_the_device():
    model = model_of("XS")
    singles = [prepared(make(), model) for make in STRUCTURES]
    expected = predict(model, collate(singles))
    found = predict(model.cuda(), collate([single.to("cuda") for single in singles]))
    for name in FIELDS:
        assert_same(getattr(found, name), getattr(expected, name), AGREEMENT[torch.float64], name)


@pytest.mark.parametrize("dtype", AGREEMENT, ids=str)
@pytest.mark.parametrize("preset", ["XS", "S", "M", "L"])
@pytest.mark.parametrize("energy", ["none", "equilibrated", "coulomb"])
def test_predictions(preset, energy, dtype):
    """Of a batch of molecules, crystals and slabs of unequal sizes."""
    model = model_of(preset, energy=energy).to(dtype)
    batch = collate([prepared(make(), model) for make in STRUCTURES])
    expected = predict(model, batch)
    found = predict(model.to("cuda"), batch.to("cuda"))
    for name in FIELDS:
        assert getattr(found, name).device.type == "cuda"
        assert_same(getattr(found, name), getattr(expected, name), AGREEMENT[dtype], name)


@pytest.mark.parametrize("changes", [
    {"charge_flow": "bonds"}, {"closed_shells": True}, {"charge_feedback": "embedding", "energy": "coulomb"},
    {"learn_widths": True, "environment_hardness": True, "background": "gaussian"}, {"repulsion": "screened"},
], ids=str)  # fmt: skip
def test_options_of_models(changes):
    model = model_of("XS", **changes)
    batch = collate([prepared(make(), model) for make in (zoo.ethanol, zoo.hydronium, zoo.crystal, zoo.slab)])
    expected = predict(model, batch)
    found = predict(model.to("cuda"), batch.to("cuda"))
    for name in FIELDS:
        assert_same(getattr(found, name), getattr(expected, name), 1e-9, name)


@pytest.mark.parametrize("method", ["dense", "structure_factors", "mesh"])
@pytest.mark.parametrize("make", [zoo.ethanol, zoo.water_box, zoo.charged_crystal, zoo.slab], ids=lambda f: f.__name__)
def test_solvers(make, method):
    """To the solver's tolerance: warm starts and sums differ."""
    model = model_of("XS")
    model.solver = Solver(method, tolerance=1e-11, mesh_accuracy=1e-10)
    batch = prepared(make(), model)
    expected = predict(model, batch)
    found = predict(model.to("cuda"), batch.to("cuda"))
    for name in FIELDS:
        assert_same(getattr(found, name), getattr(expected, name), 1e-7, name)


@pytest.mark.parametrize("make", [zoo.ethanol, zoo.slab], ids=lambda f: f.__name__)
def test_responses(make):
    model = model_of("XS")
    batch = prepared(make(), model)
    expected = predict_response(model, batch)
    found = predict_response(model.to("cuda"), batch.to("cuda"))
    for name in ("dipole", "polarizability", "fukui", "hardness", "born_charges"):
        assert_same(getattr(found, name), getattr(expected, name), 1e-9, name)


@pytest.mark.parametrize("method", ["structure_factors", "mesh"])
@pytest.mark.parametrize("make", [zoo.ethanol, zoo.crystal, zoo.slab], ids=lambda f: f.__name__)
def test_the_energy_of_given_charges(make, method):
    atoms = make()
    charges = torch.linspace(-1, 1, len(atoms), dtype=torch.float64)
    found = []
    for device in ("cpu", "cuda"):
        positions = torch.from_numpy(atoms.positions).to(device).requires_grad_()
        cell = torch.from_numpy(atoms.cell.array).to(device)
        widths = torch.full_like(charges, 0.6).to(device)
        energy = coulomb_energy(positions, cell, atoms.pbc, charges.to(device), widths, solver=Solver(method))
        found.append(torch.autograd.grad(energy, positions)[0].cpu())
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=1e-9)


@pytest.mark.parametrize("energy", ["none", "equilibrated"])
@pytest.mark.parametrize("make", [zoo.ethanol, zoo.water_box], ids=lambda f: f.__name__)
def test_a_recorded_network_through_ase(make, energy):
    """While atoms move, so that lists are made anew and shapes change."""
    model, atoms = model_of("S", energy=energy), make()
    recorded = CACEQEqCalculator(model, device="cuda", compiled=True)
    plain = CACEQEqCalculator(model)
    random = np.random.default_rng(3)
    for size in (0.0, 0.05, 0.3):
        atoms.positions += size * random.standard_normal(atoms.positions.shape)
        expected = plain.get_property("forces", atoms)
        np.testing.assert_allclose(
            recorded.get_property("forces", atoms), expected, rtol=0, atol=1e-9 * np.abs(expected).max()
        )


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "graphs"])
def test_training(tmp_path, compiled):
    """The same epochs as on a processor."""
    folder = trimers(tmp_path)
    settings = {"weights": {"energy": 10, "forces": 1}, "optimizer": "adamw"}
    histories = []
    for device in ("cpu", "cuda"):
        config = small_config(folder, device, device=device, compile=compiled and device == "cuda", **settings)
        config = config.model_copy(update={"model": {**config.model, "energy": "none"}})
        histories.append([record["train_loss"] for record in fit(config).history])
    np.testing.assert_allclose(histories[1], histories[0], rtol=1e-6)


def test_training_with_charges_and_soap(tmp_path):
    """SOAP chooses axes of a space without gradients by rounding: another run of the same quality."""
    folder, losses = trimers(tmp_path), {}
    for device in ("cpu", "cuda"):
        history = fit(small_config(folder, device, device=device, epochs=8)).history
        losses[device] = [record["train_loss"] for record in history]
    assert losses["cuda"][0] == pytest.approx(losses["cpu"][0], rel=0.01)
    assert losses["cuda"][-1] == pytest.approx(losses["cpu"][-1], rel=0.05)
