"""`cace-qeq predict`, as it is typed."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import molecule
from ase.calculators.morse import MorsePotential
from ase.constraints import FixAtoms
from ase.io import read, write
from typer.testing import CliRunner

from cace_qeq import CACEQEq, CACEQEqCalculator, Committee, ModelConfig, save_committee, save_model
from cace_qeq.cli import app
from cace_qeq.structures import LabelKeys, label_sources, read_frames
from small_models import MORSE, cluster, crystal, trained_model, untrained_model


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_model(trained_model(), "model.safetensors")
    molecules = [cluster(), cluster()]
    molecules[0].info |= {"total_charge": 1, "name": "first"}
    molecules[1].rattle(0.05, seed=3)
    write("molecules.extxyz", molecules)
    write("crystal.extxyz", crystal())
    return tmp_path


def predict(*arguments: str):
    return CliRunner().invoke(app, ["predict", *arguments])


def test_structures_without_labels_get_all_that_the_calculator_says(folder):
    result = predict("model.safetensors", "molecules.extxyz", "crystal.extxyz", "--default-total-charge", "0")
    assert result.exit_code == 0, result.output
    assert "3 frames: predicted.extxyz" in result.output
    first, second, third = read("predicted.extxyz", ":")
    assert first.info["name"] == "first"
    assert first.get_charges().sum() == pytest.approx(1, abs=1e-6)
    assert second.get_charges().sum() == pytest.approx(0, abs=1e-6)
    atoms = read("crystal.extxyz")
    atoms.info["charge"] = 0
    atoms.calc = CACEQEqCalculator("model.safetensors")
    assert third.get_potential_energy() == pytest.approx(atoms.get_potential_energy(), abs=1e-7)
    assert np.abs(third.get_forces() - atoms.get_forces()).max() < 1e-7
    assert np.abs(third.get_stress() - atoms.get_stress()).max() < 1e-7
    assert np.abs(third.arrays["electronegativities"] - atoms.calc.results["electronegativities"]).max() < 1e-7


@pytest.mark.parametrize("members", [1, 2])
def test_the_size_of_batches_changes_nothing(folder, members):
    models = [untrained_model(crystal(), seed) for seed in range(members)]
    save_model(models[0], "one.safetensors") if members == 1 else save_committee(Committee(models), "one.safetensors")
    frames = [cluster(), crystal(), crystal(), cluster()]
    frames[2].pbc = [True, True, False]
    frames[0].info |= {"external_positions": [[4.0, 0.5, 1.0]], "external_charges": [0.8]}
    frames[1].info |= {"external_positions": [[1.3, 1.2, 1.5], [-1.3, 1.6, 4.4]], "external_charges": [0.7, -0.4]}
    for atoms in frames:
        atoms.rattle(0.05, seed=len(atoms))
        atoms.info["charge"] = 0
    write("frames.extxyz", frames)
    for size in (1, 1000):
        found = predict("one.safetensors", "frames.extxyz", "--batch-atoms", str(size), "--out", f"{size}.extxyz")
        assert found.exit_code == 0, found.output
    for alone, together in zip(read("1.extxyz", ":"), read("1000.extxyz", ":"), strict=True):
        assert alone.calc.results.keys() == together.calc.results.keys()
        for name, value in alone.calc.results.items():
            np.testing.assert_allclose(together.calc.results[name], value, atol=1e-6, err_msg=name)
        for name in alone.info.keys() & {"stress_spread", "energy_spread", "external_forces"}:
            np.testing.assert_allclose(together.info[name], alone.info[name], atol=1e-6, err_msg=name)


def test_one_charge_for_all_frames(folder):
    result = predict("model.safetensors", "molecules.extxyz", "--charge", "-1")
    assert result.exit_code == 0, result.output
    for atoms in read("predicted.extxyz", ":"):
        assert atoms.get_charges().sum() == pytest.approx(-1, abs=1e-6)
        assert atoms.info["total_charge"] == -1


@pytest.mark.parametrize(("options", "totals"), [((), (1, 0)), (("--charge", "-1"), (-1, -1))])
def test_total_charges_of_another_name_count(folder, options, totals):
    molecules = read("molecules.extxyz", ":")
    molecules[0].info["Q"] = molecules[0].info.pop("total_charge")
    write("named.extxyz", molecules)
    result = predict("model.safetensors", "named.extxyz", "--keys", "total_charge=Q", *options)
    assert result.exit_code == 0, result.output
    for atoms, total in zip(read("predicted.extxyz", ":"), totals, strict=True):
        assert atoms.get_charges().sum() == pytest.approx(total, abs=1e-6)
        assert atoms.info.get("total_charge", 0) == total


@pytest.mark.parametrize(
    ("column", "numbers", "total"),
    [
        (("electrode", [0, 0, 0, 0, 1, 1, 1, 1]), ("electrode_potentials", [0.3, -0.3]), None),
        (("charge_fragment", [0] * 8), ("fragment_charges", [1.0]), 1.0),
    ],
    ids=["electrodes", "fragments"],
)
def test_the_default_charge_is_not_for_frames_whose_conditions_decide(folder, column, numbers, total):
    atoms = cluster()
    atoms.arrays[column[0]], atoms.info[numbers[0]] = np.array(column[1]), numbers[1]
    write("conditions.extxyz", atoms)
    for name, options in {"plain": (), "default": ("--default-total-charge", "0")}.items():
        result = predict("model.safetensors", "conditions.extxyz", "--out", f"{name}.extxyz", *options)
        assert result.exit_code == 0, result.output
    plain, default = read("plain.extxyz"), read("default.extxyz")
    assert default.get_potential_energy() == plain.get_potential_energy()
    assert abs(default.get_charges().sum()) > 0.1
    assert total is None or default.get_charges().sum() == pytest.approx(total, abs=1e-6)


def test_structures_keep_their_columns_and_what_is_held(folder):
    atoms = read("crystal.extxyz")
    atoms.set_tags(range(8))
    atoms.arrays["F_dft"] = np.full((8, 3), 0.5)
    atoms.set_constraint(FixAtoms([2, 3]))
    atoms.info["charge"] = 0
    write("columns.extxyz", atoms)
    assert predict("model.safetensors", "columns.extxyz").exit_code == 0
    found = read("predicted.extxyz")
    assert found.get_tags().tolist() == list(range(8))
    assert (found.arrays["F_dft"] == 0.5).all()
    assert found.constraints[0].index.tolist() == [2, 3]


def test_nothing_of_another_model_stays(folder):
    models = [untrained_model(crystal(), seed) for seed in range(2)]
    save_committee(Committee(models), "both.safetensors")
    save_model(untrained_model(crystal(), energy="none"), "bare.safetensors")
    assert predict("both.safetensors", "crystal.extxyz", "--out", "first.extxyz").exit_code == 0
    first = read("first.extxyz")
    assert "energy_spread" in first.info and first.info["electrostatic_energy"] < 0
    assert predict("bare.safetensors", "first.extxyz", "--out", "second.extxyz").exit_code == 0
    found = read("second.extxyz")
    assert not found.info.keys() & {"energy_spread", "stress_spread"}
    assert found.info["electrostatic_energy"] == 0
    assert not found.arrays.keys() & {"forces_spread", "charges_spread", "electronegativities"}


def test_a_charge_that_changes_nothing_is_refused(folder):
    save_model(untrained_model(crystal(), energy="none"), "bare.safetensors")
    result = predict("bare.safetensors", "crystal.extxyz", "--charge", "1")
    assert "bare.safetensors has no charges, so that it changes nothing" in str(result.exception)


def test_labels_are_kept_beside_the_results(folder):
    atoms = read("crystal.extxyz")
    atoms.info |= {"REF_energy": -3.0, "charge": 0}
    atoms.arrays["REF_forces"] = np.full((8, 3), 0.25)
    write("labelled.extxyz", atoms)
    assert predict("model.safetensors", "labelled.extxyz", "--out", "both.extxyz").exit_code == 0
    found = read("both.extxyz")
    assert found.info["REF_energy"] == -3.0
    assert (found.arrays["REF_forces"] == 0.25).all()
    assert not np.allclose(found.get_forces(), 0.25)
    errors = CliRunner().invoke(app, ["evaluate", "model.safetensors", "both.extxyz"])
    assert errors.exit_code == 0, errors.output


def test_results_of_another_calculator_become_labels(folder):
    before = read("crystal.extxyz")
    before.calc = MorsePotential(**MORSE)
    before.get_forces()
    write("morse.extxyz", before)
    charge = ("--default-total-charge", "0")
    assert predict("model.safetensors", "morse.extxyz", "--out", "again.extxyz", *charge).exit_code == 0
    found = read("again.extxyz")
    assert found.info["REF_energy"] == pytest.approx(before.get_potential_energy())
    assert np.abs(found.arrays["REF_forces"] - before.get_forces()).max() < 1e-7


def test_predictions_are_no_labels_unless_they_are_named(folder):
    save_model(untrained_model(crystal(), seed=3), "other.safetensors")
    assert predict("model.safetensors", "crystal.extxyz", "--default-total-charge", "0").exit_code == 0
    assert predict("other.safetensors", "predicted.extxyz", "--out", "again.extxyz").exit_code == 0
    assert "REF_energy" not in read("again.extxyz").info
    refused = CliRunner().invoke(app, ["evaluate", "other.safetensors", "predicted.extxyz"])
    assert "In 1 of 1 frames the results are predictions of a model" in str(refused.exception)
    named = ["--keys", "energy=energy,forces=forces", "--json", "errors.json"]
    taken = CliRunner().invoke(app, ["evaluate", "other.safetensors", "predicted.extxyz", *named])
    assert taken.exit_code == 0, taken.output
    assert json.loads(Path("errors.json").read_text())["forces_rmse_mev_per_angstrom"] > 1


def test_labels_of_predicted_structures_are_labels(folder):
    """Active learning: frames that a model moved, computed anew, keep what they said of themselves."""
    assert predict("model.safetensors", "crystal.extxyz", "--default-total-charge", "0").exit_code == 0
    atoms = read("predicted.extxyz")
    atoms.calc = MorsePotential(**MORSE)
    atoms.get_forces()
    write("relabelled.extxyz", atoms)
    (again,) = read_frames("relabelled.extxyz")
    assert again.info["cace_qeq_model"] == atoms.info["cace_qeq_model"]
    assert label_sources(again, LabelKeys())["forces"] == "forces"
    assert predict("model.safetensors", "relabelled.extxyz", "--out", "both.extxyz").exit_code == 0
    assert read("both.extxyz").info["REF_energy"] == pytest.approx(atoms.get_potential_energy())


def test_labels_that_are_none_are_told_before_the_work(folder, monkeypatch):
    atoms = read("crystal.extxyz")
    atoms.info |= {"REF_energy": float("nan"), "charge": 0}
    write("failed.extxyz", atoms)
    refused = predict("model.safetensors", "failed.extxyz")
    assert "failed.extxyz, frame 0: REF_energy is not finite" in str(refused.exception)
    assert predict("model.safetensors", "failed.extxyz", "--keys", "energy=none").exit_code == 0
    assert np.isfinite(read("predicted.extxyz").get_potential_energy())


@pytest.mark.parametrize("name", ["kept.db", "kept.json", "kept.traj"])
def test_predictions_that_ase_keeps_are_no_labels_either(folder, name):
    atoms = read("crystal.extxyz")
    atoms.info["charge"] = 0
    atoms.calc = CACEQEqCalculator("model.safetensors")
    atoms.get_forces()
    write(name, atoms)
    (again,) = read_frames(name)
    assert again.get_potential_energy() == atoms.get_potential_energy()
    assert not any(found for key, found in label_sources(again, LabelKeys()).items() if key != "total_charge")


def test_the_precision_is_the_one_that_is_asked_for(folder):
    options = {"saved": (), "single": ("--dtype", "float32"), "double": ("--dtype", "float64")}
    energies = {}
    for name, extra in options.items():
        assert (
            predict(
                "model.safetensors", "crystal.extxyz", "--default-total-charge", "0", "--out", f"{name}.xyz", *extra
            ).exit_code
            == 0
        )
        energies[name] = read(f"{name}.xyz").get_potential_energy()
    assert energies["single"] == pytest.approx(energies["double"], abs=1e-3)
    assert energies["single"] != energies["double"]
    assert energies["saved"] in (energies["single"], energies["double"])


def test_a_committee_says_how_far_its_members_are_apart(folder):
    members = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        members.append(CACEQEq(ModelConfig(species=(1, 8), cutoff=4.0, channels=4, layers=1, energy="none")))
        torch.nn.init.normal_(members[-1].energy_head.linear.weight)
    save_committee(Committee(members), "both.safetensors")
    write("water.xyz", molecule("H2O"))
    assert predict("both.safetensors", "water.xyz").exit_code == 0
    found = read("predicted.extxyz")
    atoms = molecule("H2O")
    atoms.calc = CACEQEqCalculator("both.safetensors")
    atoms.get_forces()
    assert found.info["energy_spread"] == pytest.approx(atoms.calc.results["energy_spread"], abs=1e-6)
    assert found.info["energy_spread"] > 0
    assert np.abs(found.arrays["forces_spread"] - atoms.calc.results["forces_spread"]).max() < 1e-6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("molecules.extxyz", "--out", "molecules.extxyz"), "exists already"),
        (("molecules.extxyz", "--out", "predicted.db"), "no name for extended XYZ"),
        (("missing.xyz",), "missing.xyz"),
        (("water.xyz",), "water.xyz, frame 0: atom 0 is O"),
    ],
)
def test_what_cannot_be_predicted_is_said(folder, arguments, message):
    write("water.xyz", molecule("H2O"))
    result = predict("model.safetensors", *arguments)
    assert message in str(result.exception)
    assert not (folder / "predicted.extxyz").exists()
