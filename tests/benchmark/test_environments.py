"""A peer's interpreter is looked at before anything is trained."""

import subprocess
import sys

import pytest

from cace_qeq.benchmark.environments import check_environment


def test_an_environment_without_the_peer_says_how_to_make_one(tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path)], check=True)
    python = tmp_path / "bin" / "python"
    with pytest.raises(ValueError, match=r"has no package mace-torch; make one with `cace-qeq benchmark environments"):
        check_environment("mace", str(python))


def test_an_environment_with_the_peer_is_right(tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path)], check=True)
    (packages,) = tmp_path.glob("lib/python*/site-packages")
    (packages / "nequip-0.19.1.dist-info").mkdir()
    (packages / "nequip-0.19.1.dist-info" / "METADATA").write_text("Name: nequip\nVersion: 0.19.1\n")
    check_environment("nequip", str(tmp_path / "bin" / "python"))
