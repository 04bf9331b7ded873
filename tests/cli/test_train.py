import os
import signal

import pytest
import yaml
from ase import Atoms
from ase.io import read, write
from typer.testing import CliRunner

from cace_qeq.cli import app
from cace_qeq.cli.train import poor
from cace_qeq.training import Evaluation
from small_runs import small_values, trimers

run = CliRunner().invoke


@pytest.fixture
def config(tmp_path):
    path = trimers(tmp_path) / "config.yaml"
    path.write_text(yaml.safe_dump(small_values(tmp_path)))
    return path


def test_training_writes_everything(config, tmp_path):
    result = run(app, ["train", str(config), "training.epochs=2", f"data.test={tmp_path / 'valid.extxyz'}"])
    assert result.exit_code == 0, result.output
    assert {file.name for file in (tmp_path / "run").iterdir()} == {
        "config.yaml", "learning_curve.png", "log.csv", "metrics.json", "model.safetensors", "parity.png",
        "state", "tensorboard",
    }  # fmt: skip
    assert "REF_energy (12)" in result.output
    assert "epoch 2 (joint)" in result.output
    assert "meV/Å" in result.output


def test_the_written_configuration_repeats_the_run(config, tmp_path):
    assert run(app, ["train", str(config), "training.epochs=1"]).exit_code == 0
    again = run(app, ["train", str(tmp_path / "run" / "config.yaml"), "--resume"])
    assert again.exit_code == 0, again.output


def test_another_run_is_not_written_over(config, tmp_path):
    assert run(app, ["train", str(config)]).exit_code == 0
    before = (tmp_path / "run" / "model.safetensors").read_bytes()
    refused = run(app, ["train", str(config)])
    assert isinstance(refused.exception, ValueError)
    assert "--overwrite" in str(refused.exception)
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == before
    assert run(app, ["train", str(config), "--overwrite"]).exit_code == 0


def test_changed_data_are_not_resumed(config, tmp_path):
    assert run(app, ["train", str(config)]).exit_code == 0
    with (tmp_path / "train.extxyz").open("a") as file:
        file.write((tmp_path / "valid.extxyz").read_text())
    assert "data files are not those" in str(run(app, ["train", str(config), "--resume"]).exception)


def test_a_run_goes_on_where_it_has_been_moved_to(config, tmp_path):
    assert run(app, ["train", str(config)]).exit_code == 0
    (tmp_path / "elsewhere").mkdir()
    for name in ("run", "train.extxyz", "valid.extxyz"):
        (tmp_path / name).rename(tmp_path / "elsewhere" / name)
    config.write_text(yaml.safe_dump(small_values(tmp_path / "elsewhere")))
    again = run(app, ["train", str(config), "--resume"])
    assert again.exit_code == 0, again.output
    assert "epoch 1 " not in again.output  # nothing is trained again


def test_resume_and_overwrite_exclude_each_other(config):
    assert "exclude each other" in str(run(app, ["train", str(config), "--resume", "--overwrite"]).exception)


def test_ctrl_c_tells_how_to_go_on(config, monkeypatch):
    began = "cace_qeq.cli.progress.RichReporter.epoch_began"
    monkeypatch.setattr(began, lambda *_: os.kill(os.getpid(), signal.SIGINT))
    result = run(app, ["train", str(config), "training.seed=1"])
    assert result.exit_code == 130
    assert f"cace-qeq train {config} training.seed=1 --resume" in result.output


def test_test_frames_without_labels_do_not_fail_a_finished_run(config, tmp_path):
    frames = read(tmp_path / "valid.extxyz", ":")
    bare = [Atoms(frame.numbers, frame.positions, info={"total_charge": 1.0}) for frame in frames]
    write(tmp_path / "bare.extxyz", bare)
    result = run(app, ["train", str(config), "training.epochs=1", f"data.test={tmp_path / 'bare.extxyz'}"])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "run" / "learning_curve.png").exists()
    assert "Ended: finished" in result.output


def test_errors_beyond_the_spread_of_labels_and_the_end_of_time_are_told(config):
    """After a single epoch."""
    result = run(app, ["train", str(config), "training.max_minutes=1e-9", "training.learning_rate=1e-9"])
    assert result.exit_code == 0, result.output
    assert "Ended: time limit" in result.output
    assert "raise training.max_minutes to --resume it" in result.output
    errors = Evaluation({"forces_percent_of_spread": 117.3, "energy_percent_of_spread": 99.0, "n_atoms": 300}, {})
    (note,) = poor({"test": errors})
    assert note.startswith("forces, test: errors are 117 % of the spread of the labels")
