"""The front door: public names, and what opening it costs."""

import subprocess
import sys

import pytest

import cace_qeq

NAMES = (
    "AtomicBatch",
    "CACEQEq",
    "CACEQEqCalculator",
    "Committee",
    "ModelConfig",
    "collate",
    "differentiable_predict",
    "load_model",
    "load_potential",
    "predict",
    "predict_committee",
    "predict_response",
    "save_committee",
    "save_model",
    "to_batch",
)


@pytest.mark.parametrize("name", NAMES)
def test_public_names(name):
    assert name in cace_qeq.__all__
    assert hasattr(cace_qeq, name)


def test_importing_the_package_leaves_heavy_libraries_alone():
    heavy = {"lightning_fabric", "matplotlib", "typer", "tensorboard"}
    program = f"import sys, cace_qeq; print(*{heavy} & sys.modules.keys())"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert shown.stdout.split() == []


def test_the_module_is_the_command():
    shown = subprocess.run([sys.executable, "-m", "cace_qeq", "--help"], capture_output=True, text=True, check=True)
    assert all(command in shown.stdout for command in ("train", "evaluate", "md", "relax", "quickstart"))
