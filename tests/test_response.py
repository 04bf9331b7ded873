"""Responses of whole models against finite differences."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms

import zoo
from cace_qeq.electrostatics import Solver
from cace_qeq.response import predict_born_charges, predict_response
from cace_qeq.structures import to_batch
from small_models import untrained_model

STRUCTURES = {"one atom": zoo.one_atom, "ethanol": zoo.ethanol, "hydronium": zoo.hydronium, "slab": zoo.slab}
VARIANTS = {
    "equilibrated": {},
    "coulomb with shells": {"energy": "coulomb", "closed_shells": True},
    "bonds": {"charge_flow": "bonds"},
}
STEP = 1e-3


@pytest.fixture(scope="module", params=VARIANTS, ids=str)
def variant(request):
    return VARIANTS[request.param]


def prepared(name, variant):
    atoms = STRUCTURES[name]()
    model = untrained_model(atoms, **variant)
    return model, to_batch(atoms, model.geometry, atoms.info["total_charge"])


def slope(function):
    """Five-point stencil at zero."""
    return (8 * (function(STEP) - function(-STEP)) - function(2 * STEP) + function(-2 * STEP)) / (12 * STEP)


@pytest.mark.parametrize("name", STRUCTURES)
def test_born_charges_against_finite_differences_of_the_dipole(name, variant):
    model, batch = prepared(name, variant)
    found = predict_response(model, batch).born_charges
    for atom, axis in [(0, 0), (-1, 2), (-2 % len(found), 1)]:

        def dipole(amount, atom=atom, axis=axis):
            positions = batch.positions.clone()
            positions[atom, axis] += amount
            return predict_response(model, replace(batch, positions=positions)).dipole[0]

        expected = slope(dipole)
        assert torch.allclose(found[atom, axis], expected, rtol=0, atol=1e-6 * float(found.abs().max()))


@pytest.mark.parametrize("name", STRUCTURES)
def test_acoustic_sum_rule(name, variant):
    """Moving everything moves the total charge: Σ Z* = Q along open directions."""
    model, batch = prepared(name, variant)
    total = predict_response(model, batch).born_charges.sum(0)
    assert torch.allclose(total, batch.total_charge.item() * torch.eye(3).double(), rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["ethanol", "slab"])
def test_polarizability_against_finite_fields(name, variant):
    model, batch = prepared(name, variant)
    found = predict_response(model, batch).polarizability[0]
    directions = torch.eye(3, dtype=torch.float64)
    if name == "slab":
        normal = torch.linalg.cross(*batch.cells[0, :2])
        directions = (normal / normal.norm()).unsqueeze(0)
    for direction in directions:

        def dipole(amount, direction=direction):
            field = replace(batch.imposed, field=(amount * direction).unsqueeze(0))
            return predict_response(model, replace(batch, imposed=field)).dipole[0]

        assert torch.allclose(direction @ found, slope(dipole), rtol=0, atol=1e-6 * float(found.abs().max()))


def test_fukui_functions_against_finite_charges(variant):
    model, batch = prepared("ethanol", variant)
    batch = replace(batch, total_charge=batch.total_charge - 0.5)  # along bonds, missing electrons differ from others
    found = predict_response(model, batch)

    def charges(amount):
        total = batch.total_charge + amount
        return model(replace(batch, total_charge=total)).charges.detach()

    assert torch.allclose(found.fukui, slope(charges), rtol=0, atol=1e-7)
    assert found.hardness.item() > 0


def test_without_a_fixed_total_there_is_no_fukui_function():
    atoms = zoo.hydronium_at_a_potential()
    model = untrained_model(zoo.hydronium())
    found = predict_response(model, to_batch(atoms, model.geometry, float("nan")))
    assert found.fukui.isnan().all()
    assert found.hardness.isnan().all()
    assert found.polarizability.isfinite().all()


@pytest.mark.parametrize("method", ["structure_factors", "mesh"])
def test_crystals_respond_with_any_solver(method):
    """Charges that are found by conjugate gradients too; what has no direction to point along is NaN."""
    model = untrained_model(zoo.crystal())
    exact = predict_response(model, to_batch(zoo.crystal(), model.geometry, 0.0))
    model.solver = Solver(method, tolerance=1e-10)
    found = predict_response(model, to_batch(zoo.crystal(), model.geometry, 0.0))
    torch.testing.assert_close(found.fukui, exact.fukui, rtol=0, atol=1e-4)
    assert found.born_charges.isnan().all()
    assert exact.born_charges.isnan().all()


def test_a_model_without_charges_does_not_respond():
    model = untrained_model(zoo.water(), energy="none")
    with pytest.raises(ValueError, match="the model has no charges"):
        predict_response(model, to_batch(zoo.water(), model.geometry, 0.0))


def test_responses_of_large_molecules_do_not_depend_on_the_origin():
    """By conjugate gradients, whose tolerance is not spent on what moves no charge."""
    rng = np.random.default_rng(0)
    places = 1.9 * np.array(list(np.ndindex(6, 6, 5))) + rng.normal(scale=0.05, size=(180, 3))
    numbers = rng.choice([1, 8, 11, 17], len(places))
    model = untrained_model(Atoms(numbers, places, info={"total_charge": 0.0}))
    at_origin, far_away = (
        predict_response(model, to_batch(Atoms(numbers, places + distance), model.geometry, 0.0))
        for distance in (0.0, 1e4)
    )
    for name in ("polarizability", "born_charges"):
        expected = getattr(at_origin, name)
        assert torch.allclose(getattr(far_away, name), expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


def test_inference_mode_is_refused_by_name():
    model, batch = prepared("one atom", {})
    with torch.inference_mode(), pytest.raises(RuntimeError, match=r"torch\.inference_mode"):
        predict_response(model, batch)


def test_a_slab_of_free_charge_has_no_whole_born_charges():
    model = untrained_model(zoo.slab())
    assert predict_born_charges(model, to_batch(zoo.slab(), model.geometry, 0.0)).isnan().all()
