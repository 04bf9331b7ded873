"""`cace-qeq committee`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cace_qeq.checkpoint import fingerprint, load_model
from cace_qeq.committee import Committee, save_committee
from cace_qeq.model import CACEQEq

Target = Annotated[Path, typer.Argument(metavar="OUT", help="The .safetensors file to write.")]
Members = Annotated[
    list[Path], typer.Argument(metavar="MODEL MODEL...", help="Files of one configuration, e.g. of several seeds.")
]


def committee(out: Target, models: Members) -> None:
    """Join trained models into one file that predicts means and spreads."""
    if out.exists():
        raise ValueError(f"{out} exists already; remove it or choose another name.")
    members = [load_model(path) for path in models]
    refuse_twins(members, models)
    save_committee(Committee(members), out)
    Console().print(f"{len(models)} members: {out}", markup=False, soft_wrap=True, highlight=False)


def refuse_twins(members: list[CACEQEq], paths: list[Path]) -> None:
    """Raise ValueError for two that always agree, as no spread could tell."""
    seen: dict[str, Path] = {}
    for member, path in zip(members, paths, strict=True):
        first = seen.setdefault(fingerprint(member), path)
        if first is not path:
            raise ValueError(f"{first} and {path} hold the same model; give models of several seeds.")
