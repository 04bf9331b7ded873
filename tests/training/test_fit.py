import csv
import json
import os
import signal
import subprocess
import sys
import time

import ase.io
import pytest
import torch

from cace_qeq.checkpoint import load_model, read, write
from cace_qeq.files import alone
from cace_qeq.training import fit, load_config, parse_config, trainer
from cace_qeq.training.config import dump_config
from cace_qeq.training.reporting import Silent
from small_runs import small_config, small_values, trimers

STUCK = 1e-30  # a learning rate that moves no weight
STEPS_PER_EPOCH = 3  # of 12 trimers, four in each


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return trimers(tmp_path_factory.mktemp("trimers"))


@pytest.fixture(scope="module")
def uninterrupted(folder):
    return fit(small_config(folder, "uninterrupted", epochs=6))


def tensors(path):
    return read(path)[1]


def assert_same_run(one, two):
    """Same parameters, optimiser and numbers, bit for bit; only times may differ."""
    for file in ("model", "state"):
        first, second = tensors(getattr(one, file)), tensors(getattr(two, file))
        assert first.keys() == second.keys()
        assert all(torch.equal(first[name], second[name]) for name in first)
    assert rows(one) == rows(two)


def rows(folder):
    table = csv.DictReader(folder.log.open())
    return [{name: value for name, value in row.items() if name not in ("seconds", "cpu_seconds")} for row in table]


class StopAfter(Silent):
    """Presses Ctrl-C during an epoch."""

    def __init__(self, epoch, step):
        self.at, self.now, self.step = epoch, 0, step

    def epoch_began(self, epoch, n_epochs, n_steps):
        self.now, self.steps = epoch, 0

    def stepped(self):
        self.steps += 1
        if (self.now, self.steps) == (self.at, self.step):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_run_leaves_its_files(uninterrupted):
    metrics = json.loads(uninterrupted.folder.metrics.read_text())
    assert metrics["valid"]["n_structures"] == 4
    assert metrics["ended"] == uninterrupted.reason == "finished"
    assert len(rows(uninterrupted.folder)) == 6
    assert uninterrupted.folder.tensorboard.is_dir()
    model = load_model(uninterrupted.folder.model)
    assert model.provenance["metrics"]["valid"] == metrics["valid"]
    assert uninterrupted.evaluations["valid"].parity.keys() == {"energy", "forces", "charges", "dipole"}


def test_a_finished_run_is_evaluated_again_whatever_its_state_is(uninterrupted, monkeypatch):
    """Its optimiser may be of another version."""
    monkeypatch.setattr(trainer, "load_state", lambda *state: pytest.fail("the state was loaded"))
    again = fit(load_config(uninterrupted.folder.config), "resume")
    assert again.reason == "finished"
    assert again.history == uninterrupted.history
    assert again.evaluations["valid"].metrics == uninterrupted.evaluations["valid"].metrics


def test_training_learns(uninterrupted):
    first, last = uninterrupted.history[0], uninterrupted.history[-1]
    assert last["train_loss"] < 0.7 * first["train_loss"]


def test_the_best_epoch_is_kept(uninterrupted):
    best = min(uninterrupted.history, key=lambda row: row["valid_loss"])
    kept = uninterrupted.evaluations["valid"].metrics
    assert kept["forces_rmse_mev_per_angstrom"] == pytest.approx(best["forces_rmse_mev_per_angstrom"], rel=1e-9)


def test_the_seed_decides_everything(folder, uninterrupted):
    again = fit(small_config(folder, "again", epochs=6))
    assert_same_run(again.folder, uninterrupted.folder)
    other = fit(small_config(folder, "other", epochs=6, seed=1))
    assert rows(other.folder) != rows(uninterrupted.folder)


@pytest.mark.parametrize("at", [(1, 1), (4, 2)], ids=["before any state", "within an epoch"])
def test_an_interrupted_run_continues_exactly(folder, uninterrupted, at):
    config = small_config(folder, f"interrupted{at[0]}", epochs=6)
    outcome = fit(config, reporter=StopAfter(*at))
    assert outcome.reason == "interrupted"
    assert len(outcome.history) == at[0] - 1
    assert outcome.evaluations == {}
    assert_same_run(fit(config, "resume").folder, uninterrupted.folder)


def test_epochs_are_added_to_a_constant_schedule(folder):
    whole = fit(small_config(folder, "four", epochs=4, schedule="constant"))
    fit(small_config(folder, "two and two", epochs=2, schedule="constant"))
    assert_same_run(
        fit(small_config(folder, "two and two", epochs=4, schedule="constant"), "resume").folder, whole.folder
    )


def test_a_run_out_of_time_keeps_a_model_that_was_never_validated(folder):
    outcome = fit(small_config(folder, "short", epochs=10, validate_every=10, max_minutes=1e-6))
    assert outcome.reason == "time limit"
    assert len(outcome.history) == 1
    kept = outcome.evaluations["valid"].metrics["forces_rmse_mev_per_angstrom"]
    assert float(rows(outcome.folder)[0]["forces_rmse_mev_per_angstrom"]) == pytest.approx(kept, rel=1e-9)


class Ends(Silent):
    """Counts ends."""

    count = 0

    def ended(self):
        self.count += 1


def test_a_reporter_hears_of_the_end_whatever_it_is(folder):
    reporter = Ends()
    config = small_config(folder, "diverging", learning_rate=1e30, gradient_clip=1e30)
    with pytest.raises(FloatingPointError, match="^the .* epoch 1; lower training.learning_rate") as error:
        fit(config, reporter=reporter)
    assert reporter.count == 1
    assert "best model" not in str(error.value)  # there is none


def test_a_killed_run_continues_exactly(folder, tmp_path):
    values = small_config(folder, "killed", epochs=40)
    (tmp_path / "config.yaml").write_text(dump_config(values))
    command = [sys.executable, "-m", "cace_qeq", "train", str(tmp_path / "config.yaml")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
    log = values.training.output / "log.csv"
    while process.poll() is None and not (log.exists() and len(log.read_text().splitlines()) > 3):
        time.sleep(0.005)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    resumed = fit(values, "resume")
    whole = fit(small_config(folder, "whole", epochs=40))
    assert_same_run(resumed.folder, whole.folder)


def test_reference_energies_are_fitted_when_energies_enter_and_shared_with_the_average(folder):
    """Each with its own fit, the averaged model was a constant energy off from the trained one for good."""
    stages = [
        {"name": "charges", "epochs": 1, "weights": {"charges": 10}},
        {"name": "forces", "epochs": 1, "weights": {"energy": 10, "forces": 1}},
        {"name": "energies", "epochs": 1, "weights": {"energy": 100, "forces": 1}},
    ]
    found = []
    for n_stages in (1, 2, 3):
        outcome = fit(small_config(folder, f"references {n_stages}", stages=stages[:n_stages], schedule="constant"))
        state = tensors(outcome.folder.state)
        assert torch.equal(state["model/reference_energies"], state["average/reference_energies"])
        found.append(state["model/reference_energies"])
    assert not torch.equal(found[0], found[1])
    assert torch.equal(found[1], found[2])


def test_stages_change_weights_and_learning_rates(folder):
    stages = [
        {"name": "charges first", "epochs": 2, "weights": {"charges": 1}},
        {"name": "all", "epochs": 2, "weights": {"energy": 1, "forces": 1}, "learning_rate": 1e-3},
    ]
    settings = {"stages": stages, "schedule": "constant", "warmup_epochs": 0}
    config = small_config(folder, "stages", **settings)
    history = fit(config).history
    assert [row["stage"] for row in history] == ["charges first"] * 2 + ["all"] * 2
    assert [row["learning_rate"] for row in history] == [5e-3, 5e-3, 1e-3, 1e-3]
    config = small_config(folder, "stages interrupted", **settings)
    fit(config, reporter=StopAfter(3, 1))
    assert [row["valid_loss"] for row in fit(config, "resume").history] == [row["valid_loss"] for row in history]


def test_each_stage_has_a_best_model_of_its_own(folder):
    """Though the loss of the first, of small weights, is smaller."""
    stages = [
        {"name": "first", "epochs": 1, "weights": {"charges": 1e-6}},
        {"name": "second", "epochs": 1, "weights": {"charges": 1}},
    ]
    alone, both = (fit(small_config(folder, f"best of {n}", stages=stages[:n])) for n in (1, 2))
    assert both.history[0]["valid_loss"] < both.history[1]["valid_loss"]
    first, second = tensors(alone.folder.model), tensors(both.folder.model)
    assert not all(torch.equal(first[name], second[name]) for name in first)


def test_a_stage_begins_with_a_new_optimizer_and_the_whole_learning_rate(folder):
    stages = [
        {"name": "stuck", "epochs": 4, "weights": {"charges": 1}, "learning_rate": STUCK},
        {"name": "free", "epochs": 1, "weights": {"charges": 1}, "learning_rate": 1e-3},
    ]
    settings = {"schedule": "plateau", "plateau_patience": 1, "optimizer": "adamw"}
    outcome = fit(small_config(folder, "anew", stages=stages, **settings))
    stuck, free = outcome.history[-2:]
    assert stuck["learning_rate"] < STUCK
    assert free["learning_rate"] == 1e-3
    steps = {int(value) for name, value in tensors(outcome.folder.state).items() if name.endswith("/step")}
    assert steps == {STEPS_PER_EPOCH}


def test_a_plateau_slows_down_and_patience_ends(folder):
    settings = {"schedule": "plateau", "plateau_patience": 1, "patience": 3, "learning_rate": STUCK, "epochs": 30}
    history = fit(small_config(folder, "plateau", **settings)).history
    assert [row["valid_loss"] for row in history] == [history[0]["valid_loss"]] * 4
    assert history[-1]["learning_rate"] < history[0]["learning_rate"]


def test_a_run_that_ran_out_of_patience_can_be_made_longer(folder):
    """It goes on after its last epoch, with new patience."""
    settings = {"schedule": "constant", "patience": 2, "learning_rate": STUCK}
    first = fit(small_config(folder, "patient", epochs=20, **settings)).history
    assert len(first) == 3
    outcome = fit(small_config(folder, "patient", epochs=23, **settings), "resume")
    assert [row["epoch"] for row in outcome.history] == [1, 2, 3, 4, 5]
    assert json.loads(outcome.folder.metrics.read_text())["epochs"] == len(outcome.history)


def test_other_data_cannot_resume_a_run_that_has_no_model_yet(tmp_path):
    folder = trimers(tmp_path)
    config = small_config(folder, "rare", epochs=6, validate_every=5)
    assert fit(config, reporter=StopAfter(3, 1)).reason == "interrupted"
    frames = ase.io.read(folder / "train.extxyz", ":")
    ase.io.write(folder / "train.extxyz", frames[::-1])
    with pytest.raises(ValueError, match="the data files are not those"):
        fit(config, "resume")


@pytest.mark.parametrize("train", [["train", "valid"], ["train", "train"]], ids=str)
def test_files_that_serve_another_purpose_cannot_resume_a_run(folder, train):
    values = small_values(folder, "_".join(train), epochs=4)
    assert fit(parse_config(values, "test"), reporter=StopAfter(2, 1)).reason == "interrupted"
    values["data"]["train"] = [str(folder / f"{name}.extxyz") for name in train]
    with pytest.raises(ValueError, match="or serve another purpose"):
        fit(parse_config(values, "test"), "resume")


def test_states_that_do_not_note_their_files_go_on(folder):
    config = small_config(folder, "old", epochs=4)
    outcome = fit(config, reporter=StopAfter(3, 1))
    metadata, values = read(outcome.folder.state)
    progress = json.loads(metadata["progress"])
    assert len(progress.pop("files")) > 0
    write(outcome.folder.state, {**metadata, "progress": json.dumps(progress)}, values)
    assert len(fit(config, "resume").history) == 4


def test_the_time_limit_ends_with_the_best_model(folder):
    outcome = fit(small_config(folder, "limited", epochs=1000, max_minutes=1e-6))
    assert outcome.reason == "time limit"
    assert len(outcome.history) == 1
    assert outcome.folder.model.exists()


def test_threads_are_those_of_before_when_the_run_has_ended(folder):
    before = torch.get_num_threads()
    fit(small_config(folder, "threads", epochs=1, threads=before + 1))
    assert torch.get_num_threads() == before


def test_no_run_is_replaced_by_a_start_of_another_name(folder):
    config = small_config(folder, "named", epochs=1)
    fit(config)
    with pytest.raises(ValueError, match="start is 'New', expected one of new, resume, overwrite"):
        fit(config, "New")
    with pytest.raises(TypeError, match="fit was given a dict, expected a TrainConfig"):
        fit(config.model_dump())


def test_validation_may_be_rare(folder):
    history = fit(small_config(folder, "rare", epochs=5, validate_every=2)).history
    assert ["valid_loss" in row for row in history] == [False, True, False, True, True]


def test_divergence_is_told(folder):
    with pytest.raises(FloatingPointError, match="lower training.learning_rate"):
        fit(small_config(folder, "diverged", learning_rate=1e200, warmup_epochs=0))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_told(folder):
    with pytest.raises(ValueError, match="torch finds 0 CUDA devices; choose cpu"):
        fit(small_config(folder, "nowhere", device="cuda"))


def test_two_processes_do_not_train_in_one_folder(folder):
    config = small_config(folder, "shared", epochs=1)
    fit(config)
    for start in ("resume", "overwrite"):
        message = "shared is being written by another process"
        with alone(config.training.output / "run"), pytest.raises(BlockingIOError, match=message):
            fit(config, start)
    fit(config, "overwrite")


def test_bad_data_leaves_nothing_behind(folder):
    values = small_config(folder, "nothing").model_dump(mode="json")
    values["training"]["weights"] = {"stress": 1.0}
    config = parse_config(values, "test")
    with pytest.raises(ValueError, match="stress"):
        fit(config)
    assert not config.training.output.exists()


def test_frames_without_some_labels_contribute_the_others(tmp_path):
    frames = ase.io.read(trimers(tmp_path) / "train.extxyz", ":")
    for index, frame in enumerate(frames):
        for name in [name for name in ("REF_charges", "REF_forces") if index % 2]:
            del frame.arrays[name]
    del frames[0].info["REF_energy"]
    ase.io.write(tmp_path / "train.extxyz", frames)
    history = fit(small_config(tmp_path, batch_atoms=3)).history
    assert all(row["train_loss"] == row["train_loss"] for row in history)


def test_single_precision_and_isolated_atoms(folder):
    outcome = fit(small_config(folder, "single", dtype="float32", reference_energies={"Ag": -100.0}))
    model = load_model(outcome.folder.model)
    assert model.dtype == torch.float32
    assert model.reference_energies.tolist() == [-100.0]
    assert model.provenance["dtype"] == "float32"
