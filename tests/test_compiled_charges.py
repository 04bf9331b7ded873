"""Molecules and crystals with their charges as one piece of generated code."""

import copy
import math
import shutil
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from ase import Atoms

import zoo
from cace_qeq.calculator import CACEQEqCalculator
from cace_qeq.compilation import CompiledRepresentation, compile_networks
from cace_qeq.electrostatics import Solver
from cace_qeq.model import CACEQEq
from cace_qeq.prediction import Prediction, predict
from cace_qeq.structures import AtomicBatch, collate, to_batch
from small_models import crystal, untrained_model

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")

TINY = {"channels": 2, "n_radial": 2, "l_max": 1, "body_order": 2, "hidden": (2,)}
FIELD = {"electric_field": [0.1, -0.3, 0.2]}  # V/Å


def with_code(model: CACEQEq) -> CACEQEq:
    compiled = copy.deepcopy(model).requires_grad_(False).eval()
    compile_networks(compiled)
    return compiled


def assert_same(found: Prediction, expected: Prediction) -> None:
    for field in fields(Prediction):
        one, other = getattr(found, field.name), getattr(expected, field.name)
        torch.testing.assert_close(
            one, other, rtol=1e-10, atol=1e-11, equal_nan=True, msg=lambda m, f=field: f"{f}: {m}"
        )


def in_fragments() -> Atoms:
    atoms = zoo.water()
    atoms.arrays["charge_fragment"] = np.zeros(3, dtype=int)
    atoms.info["fragment_charges"] = [0.0]
    return atoms


def beside_a_charge() -> Atoms:
    atoms = zoo.water()
    atoms.info.update(external_positions=[[5.0, 0, 0]], external_charges=[1.0])
    return atoms


def in_a_field(atoms: Atoms) -> Atoms:
    atoms.info |= FIELD
    return atoms


ROUNDS = {"layers": 2, "message_rank": 1, "message_channels": 2}


@pytest.mark.parametrize(
    "atoms, changes",
    [
        (in_a_field(zoo.ethanol()), {"energy": "equilibrated", "environment_hardness": True, "learn_widths": True}),
        (in_a_field(zoo.ethanol()), {"energy": "coulomb", "charge_feedback": "readout", **ROUNDS}),
        (in_a_field(zoo.ethanol()), {"energy": "coulomb", "charge_feedback": "readout", "charge_flow": "bonds"}),
        (zoo.left_handed(), {"energy": "coulomb", "charge_feedback": "embedding", "background": "gaussian"}),
        (zoo.one_atom_cell(), {"energy": "equilibrated"}),
    ],
    ids=["molecule", "coulomb", "bonds", "left-handed crystal", "one atom"],
)
def test_all_that_is_predicted_is_what_the_model_predicts(atoms, changes):
    """Of charged ones."""
    model = untrained_model(Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc), **TINY, **changes)
    compiled = with_code(model)
    batch = to_batch(atoms, model.geometry, -1.0)
    expected = predict(model, batch)
    assert float(expected.charges.abs().max()) > 0.1
    assert bool(expected.stress.isfinite().all()) == atoms.pbc.all()
    assert_same(compiled.generated(batch), expected)
    assert_same(predict(compiled, batch), expected)


def test_total_charge_field_and_masses_are_no_part_of_the_code():
    atoms = zoo.water()
    model = untrained_model(atoms, energy="coulomb", **TINY)
    compiled = with_code(model)
    batch = to_batch(atoms, model.geometry, 0.0)
    charged = replace(batch, total_charge=torch.ones(1, dtype=torch.float64))
    heavy = replace(charged, masses=torch.tensor([16.0, 1.0, 300.0], dtype=torch.float64))
    atoms.info |= FIELD
    in_field = replace(heavy, imposed=to_batch(atoms, model.geometry, 0.0).imposed)
    seen = [compiled.generated(one) for one in (batch, charged, heavy, in_field)]
    for found, one in zip(seen, (batch, charged, heavy, in_field), strict=True):
        assert_same(found, predict(model, one))
    assert float(seen[1].charges.sum()) == pytest.approx(1.0, abs=1e-12)
    assert float((seen[2].dipole - seen[1].dipole).norm()) > 0.1
    assert float((seen[3].charges - seen[2].charges).abs().max()) > 1e-3
    assert len(compiled.generated.generated) == 1


@pytest.mark.parametrize(
    "atoms, total_charge",
    [
        (zoo.ethanol_in_surroundings(), 1.0),
        (zoo.hydronium_at_a_potential(), math.nan),
        (in_fragments(), 0.0),
        (beside_a_charge(), 0.0),
        (zoo.slab(), 0.0),
        (zoo.crystal_in_surroundings(), 0.0),
    ],
    ids=["surroundings", "electrode", "fragments", "external charge", "slab", "crystal in surroundings"],
)
def test_code_says_nothing_where_more_than_the_total_charge_is_imposed_and_of_slabs(atoms, total_charge):
    """They are predicted by generated features."""
    alone = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    model = untrained_model(alone, energy="coulomb", **TINY)
    compiled, batch = with_code(model), to_batch(atoms, model.geometry, total_charge)
    assert compiled.generated(batch) is None
    assert isinstance(compiled.representation, CompiledRepresentation)


@pytest.mark.parametrize(
    "atoms, total_charge", [(zoo.ethanol_in_surroundings(), 1.0), (zoo.slab(), 0.0)], ids=["surroundings", "slab"]
)
def test_features_alone_are_generated_where_code_says_nothing(atoms, total_charge):
    alone = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    model = untrained_model(alone, energy="coulomb", charge_feedback="readout", **TINY)
    compiled, batch = with_code(model), to_batch(atoms, model.geometry, total_charge)
    assert_same(predict(compiled, batch), predict(model, batch))
    assert compiled.representation.generated and not compiled.generated.generated


def test_code_is_for_one_structure_whose_charges_come_from_a_matrix():
    for atoms in (zoo.water(), zoo.crystal()):
        model = untrained_model(atoms, **TINY)
        compiled, batch = with_code(model), to_batch(atoms, model.geometry, 0.0)
        assert compiled.generated(collate([batch, batch])) is None
        compiled.solver = Solver("mesh")
        assert compiled.generated(batch) is None


def test_code_is_not_for_crystals_in_which_charge_flows_along_bonds():
    model = untrained_model(zoo.crystal(), charge_flow="bonds", **TINY)
    assert with_code(model).generated(to_batch(zoo.crystal(), model.geometry, 0.0)) is None


def test_code_follows_a_crystal_whose_cell_and_tables_change():
    """Compressed, more pairs are near than the code was made for; stretched little, it serves again."""
    atoms = crystal()
    model = untrained_model(atoms, energy="coulomb", **TINY)
    plain, compiled = atoms.copy(), atoms.copy()
    plain.calc, compiled.calc = CACEQEqCalculator(model), CACEQEqCalculator(model, compiled=True)
    codes = []
    for stretch in (1.0, 1.01, 0.8, 1.0):
        for one in (plain, compiled):
            one.set_cell(stretch * atoms.cell, scale_atoms=True)
        np.testing.assert_allclose(compiled.get_forces(), plain.get_forces(), rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(compiled.get_stress(), plain.get_stress(), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(compiled.get_charges(), plain.get_charges(), rtol=1e-9, atol=1e-11)
        codes.append(next(iter(compiled.calc.model.generated.generated.values())))
    assert codes[0] == codes[1] != codes[2] == codes[3]


@pytest.mark.parametrize(
    "changes",
    [{"closed_shells": True}, {"repulsion": "screened"}],
    ids=["shells", "repulsion"],
)
def test_no_code_is_made_of_models_whose_charges_are_found_otherwise(changes):
    model = untrained_model(zoo.water(), **TINY, **changes)
    compiled = with_code(model)
    assert compiled.generated is None


def at_one_place(batch: AtomicBatch) -> AtomicBatch:
    return replace(batch, positions=batch.positions.index_copy(0, torch.tensor([1]), batch.positions[:1]))


@pytest.mark.parametrize("flow", ["free", "bonds"])
def test_charges_that_are_not_found_are_an_error_as_without_code(flow):
    model = untrained_model(zoo.water(), charge_flow=flow, **TINY)
    compiled, batch = with_code(model), to_batch(zoo.water(), model.geometry, 0.0)
    predict(compiled, batch)
    with pytest.raises(ValueError, match="structure 0 of the batch: the charge equilibration matrix"):
        predict(model, at_one_place(batch))
    with pytest.raises(ValueError, match="structure 0 of the batch: the charge equilibration matrix"):
        predict(compiled, at_one_place(batch))
