"""Processes that time this package: what they answer, and what is said of those that cannot."""

import signal
import sys
from pathlib import Path

import pytest
from ase.io import write

from cace_qeq.benchmark.workers import DEFAULT, Interpreter, Worker, WorkerError, interpreters_of
from speed.structures import ethanol, water_box


@pytest.fixture(scope="module")
def worker():
    with Worker("cace_qeq", interpreters_of("", [], None)["cace_qeq"], DEFAULT) as process:
        yield process


def job(folder: Path, work: str, **changes) -> dict:
    write(folder / "frames.extxyz", [water_box(1, 0)] if work == "forces" else [ethanol()])
    about = {"model": "XS", "dtype": "float32", "cutoff": 3.0, "symbols": ["H", "C", "O"], "work": work}
    return {**about, "frames": str(folder / "frames.extxyz"), **changes}


@pytest.mark.parametrize("work", ["forces", "ase", "dynamics", "train"])
def test_work_is_timed(worker, tmp_path, work):
    assert worker.ask("prepare", name=work, job=job(tmp_path, work))["parameters"] > 1000
    answer = worker.ask("run", name=work, times=3)
    assert len(answer["cpu"]) == len(answer["wall"]) == 3
    assert min(answer["cpu"]) > 0
    worker.ask("forget", name=work)
    with pytest.raises(WorkerError, match="KeyError"):
        worker.ask("run", name=work, times=1)


def test_what_a_process_knows_of_itself(worker):
    assert worker.ask("versions")["torch"]
    assert worker.ask("peak")["kilobytes"] > 50_000  # torch alone takes more


def test_an_error_is_answered_and_the_process_stays(worker, tmp_path):
    with pytest.raises(WorkerError, match="no preset 'XXL'"):
        worker.ask("prepare", name="a", job=job(tmp_path, "forces", model="XXL"))
    with pytest.raises(WorkerError, match="expected one of prepare"):
        worker.ask("sing")
    assert worker.ask("versions")


def test_a_process_that_is_gone_is_no_riddle():
    with Worker("cace_qeq", Interpreter("/bin/false", {}), DEFAULT) as gone, pytest.raises(WorkerError, match="code 1"):
        gone.ask("versions")


def test_the_last_complaint_of_a_process_is_told(tmp_path):
    interpreter = tmp_path / "python"
    interpreter.write_text("#!/bin/sh\necho 'ImportError: libpeer.so is missing' >&2\nexit 1\n")
    interpreter.chmod(0o755)
    found = pytest.raises(WorkerError, match=r"code 1; ImportError: libpeer\.so is missing")
    with Worker("cace_qeq", Interpreter(str(interpreter), {}), DEFAULT) as broken, found:
        broken.ask("versions")


def test_a_failure_ends_the_process_at_once():
    with pytest.raises(ZeroDivisionError), Worker("cace_qeq", Interpreter(sys.executable, {}), DEFAULT) as busy:
        raise ZeroDivisionError
    assert busy.process.returncode == -signal.SIGTERM


def test_interpreters_are_those_given():
    found = interpreters_of("nequip,mace", ["nequip=/there/python"], None)
    assert found["nequip"].python == "/there/python"
    assert found["mace"].python == sys.executable
    with pytest.raises(ValueError, match="--peer-python nequip: expected PEER=PATH"):
        interpreters_of("nequip", ["nequip", "mace=/there/python"], None)
    with pytest.raises(ValueError, match="no peer 'nequipp'"):
        interpreters_of("nequipp", [], None)
