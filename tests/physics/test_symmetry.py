"""What the energy must not depend on, and how the rest must follow; float64, so rounding is all that is left."""

import pytest
import torch

import zoo
from cace_qeq.config import ModelConfig
from cace_qeq.model import CACEQEq
from cace_qeq.prediction import Prediction, predict
from cace_qeq.structures import collate, to_batch

VARIANTS = {
    "none": {},
    "readout": {"charge_feedback": "readout"},
    "embedding": {"charge_feedback": "embedding"},
    "equivariant": {"message_rank": 2, "charge_feedback": "embedding"},
    "residual": {"message_rank": 1, "residual": True, "normalization": "rms"},
    "two_passes": {"message_rank": 2, "product_passes": 2},
}


@pytest.fixture(scope="module", params=VARIANTS)
def model(request) -> CACEQEq:
    config = ModelConfig(
        species=zoo.SPECIES, cutoff=4.2, channels=4, body_order=4, hidden=(8,), **VARIANTS[request.param]
    )
    with torch.random.fork_rng():
        torch.manual_seed(5)
        model = CACEQEq(config).double()
        for head in [module for module in model.modules() if type(module).__name__ == "Readout"]:
            for parameter in head.parameters():
                torch.nn.init.normal_(parameter, std=0.2)
    model.calibrate(collate([to_batch(make(), model.geometry, 0.0) for make in (zoo.water_box, zoo.ethanol)]))
    return model


def prediction_of(atoms, model: CACEQEq) -> Prediction:
    return predict(model, to_batch(atoms, model.geometry, atoms.info["total_charge"]))


@pytest.mark.parametrize("name", zoo.CHARGEABLE)
@pytest.mark.parametrize("handedness", [1.0, -1.0], ids=["rotated", "reflected"])
def test_rotation_and_reflection(model, name, handedness):
    atoms = zoo.CHARGEABLE[name]()
    turn = handedness * zoo.rotation(seed=3)
    turned = atoms.copy()
    turned.set_cell(atoms.cell.array @ turn)
    turned.positions = atoms.positions @ turn
    before, after = prediction_of(atoms, model), prediction_of(turned, model)
    turn = torch.from_numpy(turn)
    close = {"rtol": 1e-9, "atol": 1e-9, "equal_nan": True}
    torch.testing.assert_close(after.energy, before.energy, **close)
    torch.testing.assert_close(after.charges, before.charges, **close)
    torch.testing.assert_close(after.forces, before.forces @ turn, **close)
    torch.testing.assert_close(after.dipole, before.dipole @ turn, **close)
    torch.testing.assert_close(after.stress, turn.T @ before.stress @ turn, **close)


@pytest.mark.parametrize("name", zoo.CHARGEABLE)
def test_translation_and_order_of_atoms(model, name):
    atoms = zoo.CHARGEABLE[name]()
    order = torch.randperm(len(atoms), generator=torch.Generator().manual_seed(1))
    moved = atoms[order.tolist()]
    moved.positions += [3.1, -12.7, 0.4]
    before, after = prediction_of(atoms, model), prediction_of(moved, model)
    torch.testing.assert_close(after.energy, before.energy, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(after.forces, before.forces[order], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(after.charges, before.charges[order], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", zoo.SAME_CRYSTAL)
def test_energy_ignores_the_choice_of_cell_vectors(model, name):
    before, after = prediction_of(zoo.crystal(), model), prediction_of(zoo.SAME_CRYSTAL[name](), model)
    for field in ("energy", "forces", "stress", "charges"):
        torch.testing.assert_close(getattr(after, field), getattr(before, field), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", ["crystal", "charged_crystal", "primitive_salt", "primitive_metal", "one_atom_cell"])
def test_supercell(model, name):
    atoms = zoo.CRYSTALS[name]()
    larger = atoms.repeat((1, 2, 2))
    larger.info["total_charge"] = 4 * atoms.info["total_charge"]
    before, after = prediction_of(atoms, model), prediction_of(larger, model)
    torch.testing.assert_close(after.energy, 4 * before.energy, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(after.forces, before.forces.repeat(4, 1), rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(after.charges, before.charges.repeat(4), rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(after.stress, before.stress, rtol=1e-8, atol=1e-8)


def test_total_charge_matters_beyond_the_cutoff(model):
    """Two atoms that do not see each other still share one electron."""
    neutral, ion = zoo.far_dimer(), zoo.charged(zoo.far_dimer(), 1)
    assert (prediction_of(ion, model).charges - prediction_of(neutral, model).charges > 0.05).all()
