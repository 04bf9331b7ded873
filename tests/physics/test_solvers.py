"""The whole model by every solver: the same numbers, forces and stress that are derivatives, no steps along paths.

Agreement with the dense solution is that of the solver's tolerance and mesh, set tight here; a coarse mesh has its own
energy, whose derivatives are exact all the same.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

import zoo
from cace_qeq.calculator import CACEQEqCalculator
from cace_qeq.config import ModelConfig
from cace_qeq.electrostatics import Solver
from cace_qeq.model import CACEQEq
from cace_qeq.prediction import differentiable_predict, predict
from cace_qeq.structures import collate, to_batch
from small_models import crystal, untrained_model, wake

VARIANTS = {
    "equilibrated": {"learn_widths": True},
    "coulomb": {"energy": "coulomb", "charge_feedback": "readout", "background": "gaussian"},
    "bonds": {"charge_flow": "bonds"},
    "bonds and shells": {"charge_flow": "bonds", "closed_shells": True, "energy": "coulomb"},
}
STRUCTURES = {
    "molecule": zoo.ethanol,
    "cation": zoo.hydronium,
    "crystal": zoo.crystal,
    "charged_crystal": zoo.charged_crystal,
    "water_box": zoo.water_box,
    "one_atom_cell": zoo.one_atom_cell,
    "slab": zoo.slab,
    "charged_slab": zoo.charged_slab,
}
METHODS = ["structure_factors", "mesh"]
STEP = 5e-4  # Å, and of strain
TIGHT = {"tolerance": 1e-11, "mesh_accuracy": 1e-10}


def make_model(**changes) -> CACEQEq:
    config = ModelConfig(species=zoo.SPECIES, cutoff=4.2, layers=1, channels=4, hidden=(8,), **changes)
    with torch.random.fork_rng():
        torch.manual_seed(11)
        model = CACEQEq(config).double()
        for head in [module for module in model.modules() if type(module).__name__ == "Readout"]:
            wake(head)
    model.calibrate(collate([prepared(make(), model) for make in (zoo.water_box, zoo.crystal, zoo.silver_anion)]))
    return model


@pytest.fixture(scope="module", params=VARIANTS)
def model(request) -> CACEQEq:
    return make_model(**VARIANTS[request.param])


def prepared(atoms, model):
    return to_batch(atoms, model.geometry, atoms.info["total_charge"])


def solved_by(model: CACEQEq, method: str, **settings) -> CACEQEq:
    model.solver = Solver(method, **settings)
    return model


def derivative(values: Sequence[float]) -> float:
    """Five-point stencil."""
    far_behind, behind, ahead, far_ahead = values
    return (8 * (ahead - behind) - (far_ahead - far_behind)) / (12 * STEP)


def random_direction(shape: tuple[int, ...], seed: int) -> Tensor:
    direction = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return direction / direction.norm()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", STRUCTURES)
def test_every_property_is_that_of_the_dense_solution(model, name, method):
    atoms = STRUCTURES[name]()
    dense = predict(solved_by(model, "dense"), prepared(atoms, model))
    found = predict(solved_by(model, method, **TIGHT), prepared(atoms, model))
    for field in ("energy", "forces", "stress", "surface_stress", "charges", "atom_energies", "electrostatic_energy"):
        one, other = getattr(found, field), getattr(dense, field)
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-7, equal_nan=True)


@pytest.mark.parametrize("method", METHODS)
def test_training_gradients_are_those_of_the_dense_solution(model, method):
    frames = [zoo.water(), zoo.crystal(), zoo.slab(), zoo.silver_anion()]
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    gradients = []
    for solver in ("dense", method):
        batch = collate([prepared(atoms, solved_by(model, solver, **TIGHT)) for atoms in frames])
        prediction = differentiable_predict(model, batch)
        loss = sum(value.square().mean() for value in (prediction.forces, prediction.charges, prediction.energy))
        found = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
        gradients.append(torch.cat([gradient.flatten() for gradient in found]))
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-6, atol=1e-6 * float(gradients[0].abs().max()))


@pytest.mark.parametrize("accuracy", [1e-4, 1e-8])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", STRUCTURES)
def test_forces_and_stress_are_derivatives(model, name, method, accuracy):
    """Whatever the mesh; a slab is strained in its plane."""
    atoms = STRUCTURES[name]()
    batch = prepared(atoms, solved_by(model, method, tolerance=1e-11, mesh_accuracy=accuracy))
    motion = random_direction((batch.n_atoms, 3), seed=1)
    strain = random_direction((1, 3, 3), seed=2) * (batch.pbc.sum() > 1)
    strain = (strain + strain.transpose(1, 2)) / 2
    normal = np.linalg.svd(atoms.cell.array[atoms.pbc])[2][2:]  # of a slab
    inside = torch.from_numpy(np.eye(3) - (normal.T @ normal if batch.pbc.sum() == 2 else 0.0))
    strain = inside @ strain @ inside
    prediction = predict(model, batch)

    def energy(step: float) -> float:
        moved = replace(batch, positions=batch.positions + step * motion)
        return predict(model, moved.strained(step * strain)).energy.item()

    expected = derivative([energy(STEP * i) for i in (-2, -1, 1, 2)])
    found = -(prediction.forces * motion).sum()
    if batch.pbc.all():
        found = found + (prediction.stress * strain).sum() * batch.volumes[0]
    elif batch.pbc.any():
        found = found + (prediction.surface_stress * strain).sum() * np.linalg.norm(np.cross(*atoms.cell[atoms.pbc]))
    assert found.item() == pytest.approx(expected, rel=1e-6, abs=1e-8)


PATHS = {
    "volume": np.eye(3),
    "shear": np.array([[0, 1.0, 0.3], [0, 0, -0.5], [0, 0, 0]]),
}


@pytest.mark.parametrize("method", ["dense", "mesh"])
@pytest.mark.parametrize("path", PATHS)
def test_energy_forces_and_stress_have_no_steps_along_a_path_of_cells(path, method):
    """Against a fine Ewald sum, whose own error is 1e-13: the difference varies as smoothly as the mesh's error does.

    4 % of strain in steps of 0.2 %. The calculator's lists are made anew on the way, its mesh and k vectors are not.
    """
    model = make_model()
    fine = make_model(ewald_accuracy=1e-13)
    calculator = CACEQEqCalculator(model, skin=0.05, solver=Solver(method, tolerance=1e-10, mesh_accuracy=1e-5))
    exact = CACEQEqCalculator(fine, skin=0.0, solver=Solver("dense"))
    errors, of_forces, of_stress = [], [], []
    for amount in np.linspace(-0.02, 0.02, 21):
        atoms = zoo.water_box()
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + amount * PATHS[path]), scale_atoms=True)
        energies = [one.get_property("energy", atoms) for one in (calculator, exact)]
        errors.append((energies[0] - energies[1]) / len(atoms))
        of_forces.append(calculator.results["forces"] - exact.results["forces"])
        of_stress.append(calculator.results["stress"] - exact.results["stress"])
    bends, dense = np.diff(errors, 3), method == "dense"  # of the third order, so that what is smooth leaves little
    assert np.abs(bends).max() < (1e-9 if dense else 1e-8)
    assert np.ptp(errors) < (1e-9 if dense else 1e-5)
    assert np.abs(np.diff(of_forces, 3, axis=0)).max() < (1e-12 if dense else 1e-8)
    assert np.abs(np.diff(of_stress, 3, axis=0)).max() < (1e-12 if dense else 1e-9)


@pytest.mark.parametrize(("flow", "error"), [("free", 1e-12), ("bonds", 1e-10)])  # flows are those of given charges
def test_conjugate_gradients_begin_where_they_ended(flow, error):
    """In dynamics: the second of two equal structures needs no iteration."""
    fine = Solver("mesh", tolerance=1e-8, mesh_accuracy=1e-6)
    calculator = CACEQEqCalculator(make_model(charge_flow=flow), solver=fine)
    atoms = zoo.water_box()
    first = calculator.get_property("energy", atoms)
    calculator.model.solver = Solver("mesh", tolerance=2e-8, iterations=0, mesh_accuracy=1e-6)
    calculator.reset()
    assert calculator.get_property("energy", atoms) == pytest.approx(first, abs=error)


def test_another_number_of_atoms_is_another_beginning():
    calculator = CACEQEqCalculator(make_model(), solver=Solver("mesh"))
    for atoms in (zoo.water_box(), zoo.crystal(), zoo.water_box()):
        assert np.isfinite(calculator.get_property("energy", atoms))


def test_closed_shells_of_many_atoms_follow_them():
    """Above 200 atoms charges are exact to 1e-6 eV/e, which counted as a rise of the energy in 1 of 5 calls."""
    atoms = crystal() * (3, 3, 3)
    atoms.rattle(0.05, seed=0)
    atoms.pbc = False
    atoms.calc = CACEQEqCalculator(untrained_model(crystal(), seed=1, closed_shells=True))
    generator = np.random.default_rng(0)
    for _ in range(6):
        charges = atoms.get_charges()
        atoms.positions += 0.03 * generator.normal(size=atoms.positions.shape)
    exact = CACEQEqCalculator(atoms.calc.model, solver=Solver("dense"))
    assert np.abs(atoms.get_charges() - charges).max() > 1e-3
    np.testing.assert_allclose(atoms.get_charges(), exact.get_property("charges", atoms), rtol=0, atol=1e-5)
