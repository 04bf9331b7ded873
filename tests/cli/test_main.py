import subprocess
import sys
from importlib.metadata import version

import numpy as np
import pytest
import torch

from cace_qeq.cli import main


def test_wrong_input_is_one_message(monkeypatch, capsys, tmp_path):
    missing = tmp_path / "[47] missing.yaml"
    monkeypatch.setattr(sys, "argv", ["cace-qeq", "train", str(missing)])
    with pytest.raises(SystemExit) as ending:
        main()
    error = capsys.readouterr().err
    assert ending.value.code == 1
    assert error.startswith("error: ")
    assert str(missing) in error
    assert "Traceback" not in error


def test_the_module_is_the_command():
    shown = subprocess.run([sys.executable, "-m", "cace_qeq", "--help"], capture_output=True, text=True, check=True)
    for command in ("train", "evaluate", "md", "relax", "benchmark"):
        assert command in shown.stdout


@pytest.mark.parametrize("allocate", [np.empty, torch.empty])
def test_too_little_memory_is_one_message(allocate, monkeypatch, capsys):
    monkeypatch.setattr(sys.modules["cace_qeq.cli.main"], "app", lambda *_, **__: allocate(2**55))
    with pytest.raises(SystemExit):
        main(["evaluate"])
    assert "not enough memory" in capsys.readouterr().err


def test_other_errors_keep_their_traceback(monkeypatch):
    monkeypatch.setattr(sys.modules["cace_qeq.cli.main"], "app", lambda *_, **__: torch.zeros(2) @ torch.zeros(3))
    with pytest.raises(RuntimeError, match="size"):
        main(["evaluate"])


def test_the_version_is_told(capsys):
    with pytest.raises(SystemExit) as ending:
        main(["--version"])
    assert ending.value.code == 0
    assert capsys.readouterr().out.strip() == f"cace-qeq {version('cace_qeq')}"


def test_options_that_are_out_of_range_are_named(capsys, tmp_path):
    with pytest.raises(SystemExit):
        main(["md", "model.safetensors", "start.extxyz", "--steps", "-5"])
    error = capsys.readouterr().err
    assert error.startswith("error: --steps: Input should be greater than")
    assert "pydantic" not in error
