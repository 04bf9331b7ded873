"""Committees: means and spreads by hand, one file, conserved means, and what does not belong together."""

import json

import numpy as np
import pytest
import torch
from ase.calculators.fd import calculate_numerical_forces
from safetensors.torch import save_file

import zoo
from cace_qeq import CACEQEqCalculator, Committee, load_model, load_potential, predict, predict_committee
from cace_qeq.checkpoint import CheckpointError, read, save_model
from cace_qeq.committee import save_committee
from cace_qeq.doctor import examine
from cace_qeq.electrostatics import Solver
from cace_qeq.structures import collate, to_batch
from calculated import salt
from small_models import crystal, untrained_model

SEEDS = (0, 1, 2)


def committee_of(atoms, **changes):
    members = [untrained_model(atoms, seed, **changes) for seed in SEEDS]
    for seed, member in zip(SEEDS, members, strict=True):
        member.provenance = {"seed": seed, "total_charges": [0.0, float(seed)]}
    return Committee(members)


def test_means_and_spreads_by_hand():
    committee = committee_of(zoo.ethanol(), learn_widths=True)
    batch = collate([to_batch(atoms, committee.geometry, 0.0) for atoms in (zoo.ethanol(), zoo.water())])
    consensus, alone = predict_committee(committee, batch), [predict(one, batch) for one in committee.members]
    for name in ("energy", "forces", "charges", "dipole"):
        values = np.stack([getattr(one, name).numpy() for one in alone])
        np.testing.assert_allclose(getattr(consensus.mean, name), values.mean(axis=0), atol=1e-12)
        np.testing.assert_allclose(getattr(consensus.spread, name), values.std(axis=0, ddof=1), atol=1e-12)
    assert float(consensus.spread.forces.max()) > 1e-3


def test_everything_comes_back_from_one_file(tmp_path):
    committee = committee_of(zoo.ethanol())
    save_committee(committee, tmp_path / "three.safetensors")
    loaded = load_potential(tmp_path / "three.safetensors")
    assert isinstance(loaded, Committee)
    assert [member.provenance["seed"] for member in loaded.members] == [0, 1, 2]
    assert loaded.provenance["total_charges"] == [0.0, 1.0, 2.0]
    for name, value in committee.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name


def test_a_file_with_one_model_is_that_model(tmp_path):
    save_model(untrained_model(zoo.water()), tmp_path / "one.safetensors")
    assert load_potential(tmp_path / "one.safetensors").config.species == (1, 8)


def test_the_calculator_gives_means_that_conserve_energy_and_spreads(tmp_path):
    committee, path = committee_of(zoo.ethanol()), tmp_path / "three.safetensors"
    save_committee(committee, path)
    atoms = zoo.ethanol()
    atoms.info["charge"] = 0
    atoms.calc = CACEQEqCalculator(path)
    forces = atoms.get_forces()
    np.testing.assert_allclose(forces, calculate_numerical_forces(atoms, eps=1e-4), rtol=1e-5, atol=1e-7)
    atoms.get_forces()
    results = atoms.calc.results
    batches = [to_batch(atoms, member.geometry, 0.0) for member in committee.members]
    alone = [float(predict(member, batch).energy) for member, batch in zip(committee.members, batches, strict=True)]
    assert results["energy_spread"] == pytest.approx(np.std(alone, ddof=1), rel=1e-6)
    assert results["forces_spread"].shape == results["forces"].shape
    assert results["charges_spread"].shape == results["charges"].shape
    assert results["dipole_spread"].shape == (3,)
    assert "stress_spread" not in results


def test_the_lists_of_a_crystal_serve_the_member_with_the_widest_charges():
    committee = committee_of(crystal(), learn_widths=True)
    with torch.no_grad():
        committee.members[1].charge_heads.width.raw.fill_(0.7)
    atoms = salt(committee)
    atoms.info["charge"] = 0
    energy = atoms.get_potential_energy()
    alone = []
    for member in committee.members:
        one = salt(member)
        one.info["charge"] = 0
        alone.append(one.get_potential_energy())
    assert energy == pytest.approx(np.mean(alone), abs=1e-7)  # each with lists of its own
    assert atoms.calc.results["stress_spread"].shape == (6,)


def test_the_solver_is_that_of_all_members():
    committee = committee_of(zoo.water())
    committee.solver = Solver("structure_factors")
    assert {member.solver.method for member in committee.members} == {"structure_factors"}


def test_other_architectures_are_refused():
    with pytest.raises(ValueError, match=r"members 1 and 2 .*differ in channels \(4 and 5\)"):
        Committee([untrained_model(zoo.water()), untrained_model(zoo.water(), channels=5)])
    with pytest.raises(ValueError, match="two members or more, not 1"):
        Committee([untrained_model(zoo.water())])
    with pytest.raises(ValueError, match="stands twice; give a copy"):
        Committee(2 * [untrained_model(zoo.water())])


def test_a_committee_is_not_a_model_and_a_damaged_one_is_told(tmp_path):
    path = tmp_path / "three.safetensors"
    save_committee(committee_of(zoo.water()), path)
    with pytest.raises(CheckpointError, match="not a cace_qeq model"):
        load_model(path)
    metadata, tensors = read(path)
    save_file({name: value for name, value in tensors.items() if name != "1/reference_energies"}, path, metadata)
    with pytest.raises(CheckpointError, match="does not hold together"):
        load_potential(path)
    fewer = json.dumps(json.loads(metadata["provenance"])[:2])
    for provenance, message in (
        (fewer, "is of 2 models"),
        ("null", "provenance"),
        ("[null, null, null]", "provenance"),
    ):
        save_file(tensors, path, {**metadata, "provenance": provenance})
        with pytest.raises(CheckpointError, match=message):
            load_potential(path)


def test_what_asks_one_model_says_how_a_committee_is_asked():
    committee = committee_of(zoo.water())
    batch = to_batch(zoo.water(), committee.geometry, 0.0)
    with pytest.raises(ValueError, match="answers by predict_committee"):
        committee(batch)
    with pytest.raises(TypeError, match="predict was given Committee, .* committees have predict_committee"):
        predict(committee, batch)
    with pytest.raises(ValueError, match="examine its members one by one"):
        list(examine(committee, zoo.water()))


def test_a_committee_without_charges_has_no_spread_of_charges():
    atoms = zoo.water()
    atoms.calc = CACEQEqCalculator(committee_of(atoms, energy="none"))
    assert atoms.get_forces().shape == (3, 3)
    assert "forces_spread" in atoms.calc.results
    assert not {"charges_spread", "dipole_spread"} & {*atoms.calc.results, *atoms.calc.implemented_properties}
