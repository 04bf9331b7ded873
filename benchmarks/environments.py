"""Make an environment for each peer, from their package index releases.

    python benchmarks/environments.py FOLDER nequip mace

and print the options by which the benchmarks find them. Peers pin each other's libraries, so they do not share one.
"""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import torch
import typer

RELEASES = {"nequip": "nequip==0.19.1", "mace": "mace-torch==0.3.16"}


def main(
    folder: Annotated[Path, typer.Argument(help="Where the environments go.")],
    peers: Annotated[list[str], typer.Argument(help=f"Any of {', '.join(RELEASES)}.")],
) -> None:
    """Each with the torch release that this environment has."""
    for peer in peers:
        environment = (folder / peer).resolve()
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
        python = environment / "bin" / "python"
        release = torch.__version__.partition("+")[0]
        subprocess.run([str(python), "-m", "pip", "install", f"torch=={release}", RELEASES[peer]], check=True)
        print(f"--peer-python {peer}={python}")


if __name__ == "__main__":
    typer.run(main)
