from dataclasses import replace

import pytest
import torch

from cace_qeq.electrostatics import ChargeParameters, Solver, Task, find_charges, solver, total_charge_alone
from charged_structures import crystal, equilibrium_of, geometry_of, joined, molecule, slab
from iterative_structures import meshed, task_of

STRUCTURES = [molecule(3), crystal(6, 1.0), slab(4), molecule(5, -1.0), crystal(2), crystal(4)]


def batch(geometries) -> Task:
    parameters = ChargeParameters(
        *(torch.cat([getattr(s, name) for s in STRUCTURES]) for name in vars(STRUCTURES[0].parameters))
    )
    total_charge = torch.tensor([s.total_charge for s in STRUCTURES], dtype=torch.float64)
    geometry = joined(geometries)
    return Task(geometry, parameters, total_charge_alone(geometry, total_charge), torch.zeros_like(parameters.width))


@pytest.mark.parametrize(("largest", "padded"), [(0, 100), (3, 100), (100, 100), (100, 4), (100, 0)])
def test_a_batch_of_different_methods_equals_its_structures(largest, padded, monkeypatch):
    """All iterative, some of them, and only those with a mesh; others together, some of them, or each alone."""
    monkeypatch.setattr(solver, "LARGEST_DENSE", largest)
    monkeypatch.setattr(solver, "LARGEST_PADDED", padded)
    geometries = [geometry_of(s) for s in STRUCTURES[:4]] + [meshed(s) for s in STRUCTURES[4:]]
    found = find_charges(batch(geometries), "point", Solver(tolerance=1e-12))
    for name in vars(found):
        expected = torch.cat([getattr(equilibrium_of(s), name) for s in STRUCTURES])
        assert torch.allclose(getattr(found, name), expected, rtol=0, atol=1e-9), name


def test_small_structures_are_solved_at_once():
    found = find_charges(batch([geometry_of(s) for s in STRUCTURES]), "point", Solver(iterations=0))
    assert found.charges.shape == (24,)


@pytest.mark.parametrize(("made", "asked"), [("mesh", "dense"), ("mesh", "structure_factors"), ("dense", "mesh")])
def test_a_batch_made_for_another_method_is_refused(made, asked):
    with pytest.raises(ValueError, match="structure 0 of the batch was prepared for another solver"):
        find_charges(task_of(crystal(2), made), "point", Solver(asked))


@pytest.mark.parametrize("padded", [100, 4, 0])
def test_the_structure_without_charges_is_named(padded, monkeypatch):
    """However the batch is taken apart."""
    monkeypatch.setattr(solver, "LARGEST_PADDED", padded)
    task = batch([geometry_of(s) for s in STRUCTURES])
    hardness = task.parameters.hardness.clone()
    hardness[task.geometry.structure == 3] = -100.0
    sick = replace(task, parameters=replace(task.parameters, hardness=hardness))
    with pytest.raises(ValueError, match="structure 3 of the batch: .* is not positive definite"):
        find_charges(sick, "point", Solver("dense"))


@pytest.mark.parametrize("method", ["structure_factors", "mesh"])
def test_products_tell_that_charges_have_no_minimum(method):
    task = task_of(crystal(3), method)
    sick = replace(task, parameters=replace(task.parameters, hardness=torch.full_like(task.start, -100.0)))
    with pytest.raises(ValueError, match="structure 0 of the batch: .* is not positive definite"):
        find_charges(sick, "point", Solver(method))


def test_the_guess_is_used():
    task = task_of(crystal(5), "structure_factors")
    found = find_charges(task, "point", Solver("structure_factors", tolerance=1e-9))
    again = replace(task, start=found.charges)
    repeated = find_charges(again, "point", Solver("structure_factors", 1e-8, iterations=0))
    assert torch.allclose(repeated.charges, found.charges, rtol=0, atol=1e-15)
