import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from torch.multiprocessing import ProcessRaisedException

from cace_qeq.checkpoint import read
from cace_qeq.training import fit
from cace_qeq.training.config import dump_config
from cace_qeq.training.fit import raised_there
from small_runs import small_config, trimers


def test_two_processes_train_the_same_model_as_one(tmp_path):
    """They share each batch, so that only the order of sums differs. Soap turns such differences into other axes
    where it has seen no gradient yet.
    """
    trimers(tmp_path)
    one = fit(small_config(tmp_path, "one", epochs=2, optimizer="adamw"))
    two = fit(small_config(tmp_path, "two", epochs=2, optimizer="adamw", processes=2))
    for first, second in zip(one.history, two.history, strict=True):
        assert first["train_loss"] == pytest.approx(second["train_loss"], rel=1e-9)
        assert first["valid_loss"] == pytest.approx(second["valid_loss"], rel=1e-9)
    first, second = (read(outcome.folder.model)[1] for outcome in (one, two))
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=1e-7, atol=1e-9)


def test_what_a_process_raises_is_one_line(tmp_path):
    config = small_config(trimers(tmp_path), processes=2, learning_rate=1e30, gradient_clip=1e30)
    with pytest.raises(FloatingPointError, match=r"^the .* epoch \d; lower training\.learning_rate"):
        fit(config)


@pytest.mark.parametrize(
    ("last", "kind", "message"),
    [
        ("PermissionError: [Errno 13] denied: 'a'", PermissionError, "[Errno 13] denied: 'a'"),
        ("cace_qeq.structures.convert.frames.MissingFileError: no a.xyz", FileNotFoundError, "no a.xyz"),
        ("UnicodeDecodeError: 'utf-8' codec", ValueError, "'utf-8' codec"),
        ("ValueError: of a.xyz:\nenergy: missing\n- add it", ValueError, "of a.xyz:\nenergy: missing\n- add it"),
    ],
)
def test_what_a_process_raises_is_of_its_kind(last, kind, message):
    error = raised_there(ProcessRaisedException(f"Traceback ...:\n  File 'a'\n    raise\n{last}\n", 0, 1))
    assert type(error) is kind
    assert str(error) == message


def test_what_no_run_raises_keeps_its_traceback():
    error = ProcessRaisedException("Traceback ...:\n  File 'a'\nKeyError: 'energy'\n", 0, 1)
    assert raised_there(error) is error


def test_a_signal_to_the_first_process_stops_all_of_them(tmp_path):
    """As from a scheduler; the epoch that it interrupts is trained again on resuming."""
    config = small_config(trimers(tmp_path), epochs=1000, processes=2)
    (tmp_path / "config.yaml").write_text(dump_config(config))
    command = [sys.executable, "-m", "cace_qeq", "train", str(tmp_path / "config.yaml")]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, start_new_session=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, text=True
    )
    log = config.training.output / "log.csv"
    while process.poll() is None and not log.exists():
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGTERM)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Interrupted; continue with: cace-qeq train" in output
