"""Configurations change in one respect, and only there; results become tables and curves."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import read, write

from ablations import VARIANTS, main
from cace_qeq import load_model
from cace_qeq.training import TrainConfig, load_config, parse_config
from cace_qeq.training.config import dump_config
from cace_qeq.training.prepare import model_config_of
from cace_qeq.training.reporting import Silent
from optimizers import variant
from restraint import VARIANTS as RESTRAINTS
from restraint import in_turn
from small_runs import small_config, trimers
from variants import comparison, outcomes
from variants.changes import (
    BESIDE,
    changed,
    epochs_times,
    model,
    same,
    seeded,
    sets_in,
    without_charge_labels,
    without_charges,
)
from variants.curves import curves
from variants.outcomes import table
from variants.subsets import nested, on_subset, rest_held_out

CONFIGS = Path(__file__).resolve().parents[2] / "benchmarks" / "configs"
CARBON = load_config(CONFIGS / "carbon_chain.yaml")
AG3 = load_config(CONFIGS / "ag3.yaml")


def plain(config: TrainConfig) -> dict:
    values = config.model_dump(mode="json")
    values["training"].pop("output")
    return values


def test_without_a_change_only_the_folder_is_another():
    settings = changed(CARBON, "a name", same)
    assert plain(settings) == plain(CARBON)
    assert settings.training.output == Path(f"{CARBON.training.output}_a_name")


@pytest.mark.parametrize("name", ["adamw", "soap"])
def test_optimizers_are_compared_at_the_same_rates(name):
    title, change = variant(name, 0.012)
    before, after = plain(CARBON)["training"], plain(changed(CARBON, "a", change))["training"]
    assert title == f"{name}, 0.012"
    assert after == {**before, "optimizer": name, "learning_rate": 0.012}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_is_a_model(name):
    settings = changed(CARBON, name, VARIANTS[name])
    assert model_config_of(settings.model, (1, 6)).species == (1, 6)
    assert settings.data == CARBON.data


def test_sets_may_lie_elsewhere():
    acac = load_config(CONFIGS / "acac_S.yaml")
    moved = changed(acac, "moved", sets_in(Path("/sets"))).data
    assert (moved.train, moved.test) == ((Path("/sets/acac/train.extxyz"),), (Path("/sets/acac/test_300K.extxyz"),))
    assert changed(acac, "same", sets_in(BESIDE)).data == acac.data
    assert changed(AG3, "shipped", sets_in(Path("/sets"))).data == AG3.data


def test_a_model_without_charges_has_nothing_of_them():
    settings = changed(AG3, "blind", without_charges)
    config = model_config_of(settings.model, (47,))
    assert (config.energy, config.charge_feedback, config.environment_hardness) == ("none", "none", False)
    stages = settings.training.all_stages
    assert [stage.name for stage in stages] == ["forces", "energies"]  # the first trained charges alone
    assert all(stage.weights.charges == stage.weights.dipole == 0 for stage in stages)
    assert [stage.weights.forces for stage in stages] == [1, 1]


def test_without_labels_charges_stay_in_the_model():
    settings = changed(CARBON, "unlabelled", without_charge_labels)
    assert settings.model == CARBON.model
    assert all(stage.weights.charges == 0 for stage in settings.training.all_stages)


def test_a_configuration_without_stages_loses_its_charge_weight():
    values = {"data": {"train": "a.xyz", "valid": "b.xyz"}, "model": {"cutoff": 4.0}}
    values["training"] = {"output": "out", "weights": {"forces": 1, "charges": 5}}
    settings = changed(parse_config(values, "here"), "unlabelled", without_charge_labels)
    (stage,) = settings.training.all_stages
    assert (stage.weights.forces, stage.weights.charges) == (1, 0)


def test_epochs_and_seeds():
    settings = changed(AG3, "short", epochs_times(0.1), seeded(7))
    stages = zip(settings.training.all_stages, AG3.training.all_stages, strict=True)
    assert all(10 * short.epochs == long.epochs for short, long in stages)
    assert settings.training.seed == 7
    assert [stage.epochs for stage in changed(AG3, "one", epochs_times(1e-6)).training.all_stages] == [1, 1, 1]


def test_unknown_variants_are_refused():
    with pytest.raises(ValueError, match="coulomb"):
        main(CONFIGS / "carbon_chain.yaml", "equilibrated,cuolomb")


def test_variants_that_are_no_models_stop_before_any_training(tmp_path, monkeypatch):
    monkeypatch.setattr(comparison, "RESULTS", tmp_path)
    variants = {"as configured": same, "fed back": model(charge_feedback="readout")}
    with pytest.raises(ValueError, match="no charges to feed back"):
        comparison.compare("ablations", CONFIGS / "acac_S.yaml", variants, "0", 1e-6)
    assert not list(tmp_path.iterdir())


def test_variants_join_those_that_were_trained_before(tmp_path, monkeypatch):
    monkeypatch.setattr(outcomes, "RichReporter", Silent)
    monkeypatch.setattr(comparison, "RESULTS", tmp_path)
    monkeypatch.setattr("record.RESULTS", tmp_path)
    trimers(tmp_path)
    (tmp_path / "small.yaml").write_text(dump_config(small_config(tmp_path, "run")))
    for variants, seeds in (({"a": same}, "0"), ({"b": same}, "0"), ({"a": same}, "0,1")):
        comparison.compare("test", tmp_path / "small.yaml", variants, seeds, 1.0)
    rows = json.loads((tmp_path / "test_small.json").read_text())["variants"]
    assert {name: [row["seed"] for row in found] for name, found in rows.items()} == {"a": [0, 1], "b": [0]}
    with pytest.raises(ValueError, match="results of other epochs than asked for; move it elsewhere"):
        comparison.compare("test", tmp_path / "small.yaml", {"a": same}, "0", 0.5)
    settings = small_config(tmp_path, "run")
    rate = settings.training.model_copy(update={"learning_rate": 0.0123})
    (tmp_path / "small.yaml").write_text(dump_config(settings.model_copy(update={"training": rate})))
    with pytest.raises(ValueError, match="results of other settings than"):
        comparison.compare("test", tmp_path / "small.yaml", {"a": same}, "0", 1.0)


def test_subsets_are_nested():
    sets = [set(nested(200, percent)) for percent in (0.1, 1, 10, 100)]
    assert [len(found) for found in sets] == [2, 2, 20, 200]
    assert sets[1] <= sets[2] <= sets[3]


def test_a_subset_keeps_labels_under_their_keys(tmp_path):
    frames = [Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.7 + 0.01 * n]], info={"E0": float(n)}) for n in range(10)]
    write(tmp_path / "train.xyz", frames, format="extxyz")
    values = {"data": {"train": str(tmp_path / "train.xyz"), "valid": 0.1, "keys": {"energy": "E0"}}}
    values |= {"model": {"cutoff": 4.0}, "training": {"output": str(tmp_path / "out"), "weights": {"energy": 1}}}
    subset, n_frames = on_subset(parse_config(values, "here"), 50)
    settings = changed(parse_config(values, "here"), "half", subset)
    found = [atoms.info["E0"] for atoms in read(settings.data.train[0], ":")]
    assert n_frames == len(found) == 5
    assert found == [float(n) for n in nested(10, 50)]


def test_what_a_share_leaves_is_tested_on(tmp_path):
    frames = [Atoms("H", info={"E0": float(n)}) for n in range(10)]
    write(tmp_path / "train.xyz", frames, format="extxyz")
    values = {"data": {"train": str(tmp_path / "train.xyz"), "valid": 0.1, "test": "t.xyz", "keys": {"energy": "E0"}}}
    values |= {"model": {"cutoff": 4.0}, "training": {"output": str(tmp_path / "out"), "weights": {"energy": 1}}}
    config = parse_config(values, "here")
    settings = changed(config, "part", rest_held_out(config, 30))
    train, test = (
        [atoms.info["E0"] for atoms in read(paths[0], ":")] for paths in (settings.data.train, settings.data.test)
    )
    assert train == [float(n) for n in nested(10, 30)]
    assert sorted(train + test) == [float(n) for n in range(10)]
    with pytest.raises(ValueError, match="leave none to test on"):
        rest_held_out(config, 100)


@pytest.mark.parametrize("name", RESTRAINTS)
def test_every_restraint_is_a_configuration(name):
    settings = changed(load_config(CONFIGS / "acac_S.yaml"), name, in_turn(*RESTRAINTS[name]))
    assert model_config_of(settings.model, (1, 6, 8)).message_rank == 1


@pytest.mark.parametrize("percent", [0, -3, 101, float("nan")])
def test_shares_are_between_nothing_and_everything(percent):
    with pytest.raises(ValueError, match="percent"):
        on_subset(AG3, percent)


def result(kind: str, frames: int, forces: float | None) -> dict:
    errors = {"energy_rmse_mev_per_atom": 1.0, "forces_rmse_mev_per_angstrom": forces, "charges_rmse_me": None}
    return {"kind": kind, "frames": frames, "minutes": 2.0, "parameters": 10, **errors}


def test_rows_of_a_table():
    lines = table("variant", {"base": [result("a", 8, 10.0), result("a", 8, 14.0)]}).splitlines()
    assert lines[2] == "| base | 1 ± 0 | 12 ± 2.8 | – | 2.0 | 10 | 2 |"
    assert len({line.count("|") for line in lines}) == 1


def test_curves_are_means_over_seeds():
    rows = {"a": [result("with", 80, 10.0), result("with", 80, 14.0)], "b": [result("with", 8, 40.0)]}
    assert curves(rows, "forces_rmse_mev_per_angstrom") == {"with": [(8, 40.0), (80, 12.0)]}
    assert curves(rows, "charges_rmse_me") == {}
    assert np.isfinite(curves(rows, "energy_rmse_mev_per_atom")["with"]).all()


class CtrlC(Silent):
    """Presses it in the second epoch."""

    def epoch_began(self, epoch, n_epochs, n_steps):
        if epoch == 2:
            os.kill(os.getpid(), signal.SIGINT)


def test_a_training_that_was_broken_off_is_no_result_and_goes_on(tmp_path, monkeypatch):
    config = small_config(trimers(tmp_path))
    monkeypatch.setattr(outcomes, "RichReporter", CtrlC)
    with pytest.raises(KeyboardInterrupt):
        outcomes.trained(config)
    monkeypatch.setattr(outcomes, "RichReporter", Silent)
    found = outcomes.trained(config)
    assert found["epochs"] == config.training.epochs
    assert found["trained_at_commit"] == load_model(config.training.output / "model.safetensors").provenance["commit"]
