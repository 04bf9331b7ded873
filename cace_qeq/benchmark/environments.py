"""Environments of the peers, which pin each other's libraries and so do not share one."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import torch

RELEASES = {"nequip": "nequip==0.19.1", "mace": "mace-torch==0.3.16"}


def make_environment(peer: str, folder: Path) -> Path:
    """The interpreter of an environment with the peer's package index release, our torch and our optimisers.

    folder  of all environments

    raises  ValueError for an unknown peer, or with pip's last words
    """
    if peer not in RELEASES:
        raise ValueError(f"there is no peer {peer!r}; choose of {', '.join(RELEASES)}.")
    environment = (folder / peer).resolve()
    python = environment / "bin" / "python"
    ours = [f"torch=={torch.__version__.partition('+')[0]}", f"pytorch_optimizer=={version('pytorch_optimizer')}"]
    install = [str(python), "-m", "pip", "install", "--quiet", *ours, RELEASES[peer]]
    for command in ([sys.executable, "-m", "venv", str(environment)], install):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            words = (done.stderr or done.stdout).strip()[-1000:]
            raise ValueError(f"{peer}: `{' '.join(command)}` failed with code {done.returncode}: {words}")
    return python


def check_environment(peer: str, python: str) -> None:
    """raises  ValueError for an interpreter that is not there, or has no such peer"""
    name = RELEASES[peer].partition("==")[0]
    command = [python, "-c", f"from importlib.metadata import version; version({name!r})"]
    remedy = (
        f"make one with `cace-qeq benchmark environments DIR {peer}` "
        f"and give --peer-python {peer}=DIR/{peer}/bin/python."
    )
    try:
        done = subprocess.run(command, capture_output=True)
    except OSError as error:
        raise ValueError(f"{peer}: {python} does not start ({error.strerror}); {remedy}") from None
    if done.returncode:
        raise ValueError(f"{peer}: {python} has no package {name}; {remedy}")
