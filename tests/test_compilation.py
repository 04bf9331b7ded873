"""Networks as generated code: the same answers, for as many atoms and neighbours as there are."""

import copy
import os
import pickle
import shutil
import subprocess
import sys
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.io import write

import zoo
from cace_qeq.calculator import CACEQEqCalculator
from cace_qeq.checkpoint import save_model
from cace_qeq.committee import Committee
from cace_qeq.compilation import CompiledRepresentation, compile_networks
from cace_qeq.prediction import Prediction, differentiable_energies, predict
from cace_qeq.response import predict_response
from cace_qeq.structures import collate, to_batch
from small_models import cluster, crystal, untrained_model

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")

TINY = {"channels": 2, "n_radial": 2, "l_max": 1, "body_order": 2, "hidden": (2,)}


def answers(atoms: Atoms, model, **options) -> Atoms:
    asked = atoms.copy()
    asked.calc = CACEQEqCalculator(model, **options)
    return asked


def slab() -> Atoms:
    atoms = crystal()
    atoms.pbc = (True, False, True)
    return atoms


@pytest.mark.parametrize(
    "atoms, changes",
    [
        (zoo.ethanol(), {"energy": "equilibrated", "layers": 2, "message_rank": 1, "message_channels": 2}),
        (crystal(), {"energy": "coulomb", "charge_feedback": "embedding"}),
        (crystal(), {"energy": "none"}),
        (slab(), {"energy": "none"}),
    ],
    ids=["molecule", "crystal", "crystal without charges", "slab without charges"],
)
def test_generated_code_answers_as_the_network_does(atoms, changes):
    model = untrained_model(atoms, **{**TINY, **changes})
    plain, compiled = answers(atoms, model), answers(atoms, model, compiled=True)
    assert compiled.get_potential_energy() == pytest.approx(plain.get_potential_energy(), abs=1e-11)
    assert np.abs(plain.get_forces()).max() > 1e-3
    np.testing.assert_allclose(compiled.get_forces(), plain.get_forces(), rtol=1e-9, atol=1e-11)
    if model.config.energy != "none":
        np.testing.assert_allclose(compiled.get_charges(), plain.get_charges(), rtol=1e-9, atol=1e-11)
    if atoms.pbc.all():
        np.testing.assert_allclose(compiled.get_stress(), plain.get_stress(), rtol=1e-9, atol=1e-12)
    if atoms.pbc.sum() == 2:
        found, expected = (each.calc.results["surface_stress"] for each in (compiled, plain))
        assert np.abs(expected).max() > 1e-4
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_code_is_made_anew_for_more_neighbours_and_for_other_numbers_of_atoms():
    """Atoms come closer, one leaves, and each answer is that of the network."""
    atoms, model = cluster(), untrained_model(cluster(), energy="none", **TINY)
    compiled = CACEQEqCalculator(Committee([model, copy.deepcopy(model)]), skin=0.0, compiled=True)
    seen = []
    for structure in (spread(atoms, 3.0), atoms, spread(atoms, 3.0), atoms[:5]):
        structure.calc = compiled
        expected = answers(structure, model).get_forces()
        np.testing.assert_allclose(structure.get_forces(), expected, rtol=1e-9, atol=1e-12)
        seen.append(dict(compiled.model.members[0].generated.generated))
    known, fewer = ((n_atoms, bytes(3), torch.float64) for n_atoms in (len(atoms), 5))
    assert seen[0].keys() == seen[1].keys() == seen[2].keys() == {known}
    assert seen[3].keys() == {known, fewer}
    assert seen[1] == seen[2]  # code for more neighbours serves fewer


def test_a_batch_of_different_boundaries_is_predicted_as_by_the_network():
    model = untrained_model(crystal(), energy="none", **TINY)
    frames = [crystal(), slab(), slab()[:3]]
    frames[2].pbc = False
    batch = collate([to_batch(atoms, model.geometry, 0.0) for atoms in frames])
    expected = predict(model, batch)
    compile_networks(model)
    found = predict(model, batch)
    assert not expected.stress[0].isnan().any() and not expected.surface_stress[1].isnan().any()
    for field in fields(Prediction):
        one, other = getattr(found, field.name), getattr(expected, field.name)
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11, equal_nan=True)


def test_code_for_a_perfect_crystal_is_tried_where_forces_are_not_zero():
    atoms = bulk("Si", "diamond", a=5.43, cubic=True)
    model = untrained_model(atoms, energy="none", **TINY)
    plain, compiled = answers(atoms, model), answers(atoms, model, compiled=True)
    assert compiled.get_potential_energy() == pytest.approx(plain.get_potential_energy(), abs=1e-11)
    np.testing.assert_allclose(compiled.get_forces(), 0.0, atol=1e-12)


@pytest.mark.parametrize("pbc", [(True, True, True), (True, False, True)], ids=["crystal", "slab"])
def test_code_for_a_single_atom_in_a_cell_whose_force_is_always_zero(pbc):
    atoms = zoo.one_atom_cell()
    atoms.pbc = pbc
    model = untrained_model(atoms, energy="none", **TINY)
    plain, compiled = answers(atoms, model), answers(atoms, model, compiled=True)
    assert compiled.get_potential_energy() == pytest.approx(plain.get_potential_energy(), abs=1e-11)
    np.testing.assert_allclose(compiled.get_forces(), 0.0, atol=1e-12)


@pytest.mark.parametrize("energy", ["none", "equilibrated"])
def test_code_follows_parameters_that_change(energy):
    atoms = answers(zoo.water(), untrained_model(zoo.water(), energy=energy, **TINY), compiled=True)
    before = atoms.get_forces()
    with torch.no_grad():
        for parameter in atoms.calc.model.parameters():
            parameter.mul_(1.5)
    atoms.calc.reset()
    expected = answers(zoo.water(), atoms.calc.model).get_forces()
    assert np.abs(expected - before).max() > 1e-3
    np.testing.assert_allclose(atoms.get_forces(), expected, rtol=1e-9, atol=1e-11)


def test_positions_may_lie_in_memory_in_any_order_and_precision():
    model = untrained_model(cluster(), energy="none", **TINY)
    batch = to_batch(cluster(), model.geometry, 0.0)
    compile_networks(model)
    expected = predict(model, batch).forces
    columns = replace(batch, positions=batch.positions.T.contiguous().T)
    torch.testing.assert_close(predict(model, columns).forces, expected, rtol=1e-12, atol=1e-14)
    single = replace(batch, positions=batch.positions.float())
    torch.testing.assert_close(predict(model, single).forces, expected, rtol=1e-4, atol=1e-5)


def test_forces_by_generated_code_are_refused_in_inference_mode_like_others():
    model = untrained_model(cluster(), energy="none", **TINY)
    batch = to_batch(cluster(), model.geometry, 0.0)
    compile_networks(model)
    with torch.inference_mode(), pytest.raises(RuntimeError, match="under torch.no_grad"):
        predict(model, batch)


def test_a_compiled_model_is_copied_and_saved_as_the_network_that_it_is(tmp_path):
    atoms, model = cluster(), untrained_model(cluster(), energy="none", **TINY)
    compiled = answers(atoms, model, compiled=True)
    forces = compiled.get_forces()
    save_model(compiled.calc.model, tmp_path / "model.safetensors")
    again = answers(atoms, tmp_path / "model.safetensors")
    single = answers(atoms, compiled.calc.model, dtype=torch.float32)
    twice = answers(atoms, compiled.calc.model, compiled=True)
    np.testing.assert_allclose(again.get_forces(), forces, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(single.get_forces(), forces, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(twice.get_forces(), forces, rtol=1e-9, atol=1e-12)


def spread(atoms: Atoms, factor: float) -> Atoms:
    far = atoms.copy()
    far.positions *= factor
    return far


@pytest.mark.parametrize("energy", ["none", "equilibrated"])
def test_a_compiled_calculator_goes_to_another_process(energy):
    """Without its code, which is made again there."""
    atoms = cluster()
    atoms.calc = CACEQEqCalculator(untrained_model(atoms, energy=energy), compiled=True)
    forces = atoms.get_forces()
    there = pickle.loads(pickle.dumps(atoms))
    there.calc.reset()
    np.testing.assert_allclose(there.get_forces(), forces, atol=1e-10)
    assert there.calc.model.generated is None or there.calc.model.generated.generated


def test_code_that_says_something_else_is_refused(monkeypatch):
    model = untrained_model(cluster(), energy="none", **TINY)
    monkeypatch.setattr(
        torch._inductor, "compile", lambda code, *_, **__: lambda *tensors: [1.001 * v for v in code(*tensors)]
    )
    with pytest.raises(
        RuntimeError, match="differs from the network by .* times its rounding errors; use the model without"
    ):
        answers(cluster(), model, compiled=True).get_forces()


def test_parameters_and_features_are_those_of_the_network():
    model = untrained_model(cluster(), energy="none", **TINY)
    compiled = CompiledRepresentation(model.representation)
    assert compiled.n_features == model.representation.n_features
    assert {id(one) for one in compiled.parameters()} == {id(one) for one in model.representation.parameters()}


def test_without_a_compiler_the_message_says_so(tmp_path):
    """In a process of its own, where nothing has been compiled yet."""
    save_model(untrained_model(cluster(), energy="none", **TINY), tmp_path / "model.safetensors")
    write(tmp_path / "start.xyz", cluster())
    command = [
        sys.executable,
        "-m",
        "cace_qeq",
        "md",
        tmp_path / "model.safetensors",
        tmp_path / "start.xyz",
        "--compile",
    ]
    environment = {**os.environ, "CXX": "/no/such/compiler", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    found = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert found.returncode == 1
    assert "Traceback" not in found.stderr
    assert "error: no code could be generated" in found.stderr
    assert "install a C++ compiler" in found.stderr


def test_responses_of_a_compiled_model_are_those_of_the_network():
    atoms = zoo.water()
    model = untrained_model(atoms, **TINY)
    compiled = answers(atoms, model, compiled=True)
    compiled.get_potential_energy()
    batch = to_batch(atoms, model.frozen_geometry, 0.0)
    found, expected = (predict_response(one, batch) for one in (compiled.calc.model, model))
    assert float(expected.born_charges.abs().max()) > 1e-3
    assert torch.equal(found.born_charges, expected.born_charges)


def test_several_gradients_of_one_evaluation_are_those_of_the_network():
    """Code of derivatives leaves what the features have kept as it was."""
    model = untrained_model(zoo.water(), closed_shells=True, **TINY)  # whose features alone are generated
    compiled, batch = copy.deepcopy(model), to_batch(zoo.water(), model.geometry, 0.0)
    compile_networks(compiled)
    outcomes = []
    for one in (compiled.eval(), model):
        positions = batch.positions.clone().requires_grad_()
        charges = one(replace(batch, positions=positions)).charges
        outcomes.append([torch.autograd.grad(q, positions, retain_graph=True)[0] for q in (*charges, charges[0])])
    assert min(float(gradient.abs().max()) for gradient in outcomes[1]) > 1e-4
    torch.testing.assert_close(*outcomes, rtol=1e-9, atol=1e-12)


def test_code_is_made_anew_where_parameters_have_moved_to_other_memory():
    model = untrained_model(zoo.water(), energy="none", **TINY).requires_grad_(False)
    compiled, batch = copy.deepcopy(model), to_batch(zoo.water(), model.geometry, 0.0)
    compile_networks(compiled)
    predict(compiled, batch)
    values = 1.1 * torch.nn.utils.parameters_to_vector(model.parameters())
    for one in (compiled, model):
        torch.nn.utils.vector_to_parameters(values.clone(), one.parameters())  # which assigns their data
    torch.testing.assert_close(predict(compiled, batch).energy, predict(model, batch).energy, rtol=0, atol=1e-11)


def test_code_is_made_anew_in_another_precision():
    atoms = answers(zoo.water(), untrained_model(zoo.water(), energy="none", **TINY), compiled=True)
    expected = atoms.get_forces()
    atoms.calc.model.float()
    atoms.calc.reset()
    np.testing.assert_allclose(atoms.get_forces(), expected, rtol=1e-4, atol=1e-5)


def test_code_follows_parameters_that_are_replaced():
    model = untrained_model(zoo.water(), energy="none", **TINY)
    batch = to_batch(zoo.water(), model.geometry, 0.0)
    compile_networks(model)
    before = predict(model, batch).energy
    model.load_state_dict({name: value * 1.1 for name, value in model.state_dict().items()}, assign=True)
    plain = copy.deepcopy(model)
    plain.generated = None
    expected = predict(plain, batch).energy
    assert abs(float(expected - before)) > 1e-6
    torch.testing.assert_close(predict(model, batch).energy, expected, rtol=1e-9, atol=1e-9)


def test_elements_may_be_swapped_in_place():
    atoms = zoo.water()
    model = untrained_model(atoms, energy="none", **TINY)
    batch = to_batch(atoms, model.geometry, 0.0)
    compile_networks(model)
    predict(model, batch)
    batch.numbers[:2] = batch.numbers[:2].flip(0)
    plain = copy.deepcopy(model)
    plain.generated = None
    torch.testing.assert_close(predict(model, batch).energy, predict(plain, batch).energy, rtol=1e-9, atol=1e-9)


def test_a_compiled_model_takes_its_own_state():
    model = untrained_model(zoo.water(), **TINY)
    batch = to_batch(zoo.water(), model.geometry, 0.0)
    compile_networks(model)
    before = predict(model, batch).energy
    state = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
    model.load_state_dict(state)
    torch.testing.assert_close(predict(model, batch).energy, before, rtol=1e-12, atol=1e-12)


def test_a_compiled_model_does_not_train_in_silence():
    model = untrained_model(zoo.water(), **TINY)
    batch = to_batch(zoo.water(), model.geometry, 0.0)
    compile_networks(model)
    predict(model, batch)
    with pytest.raises(RuntimeError, match="no derivatives by parameters"):
        differentiable_energies(model.train(), batch)
