"""`cace-qeq committee`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cace_qeq.checkpoint import load_model
from cace_qeq.committee import Committee, save_committee

Target = Annotated[Path, typer.Argument(metavar="OUT", help="The .safetensors file to write.")]
Members = Annotated[
    list[Path], typer.Argument(metavar="MODEL MODEL...", help="Files of one configuration, e.g. of several seeds.")
]


def committee(out: Target, models: Members) -> None:
    """Join trained models into one file that predicts means and spreads."""
    if out.exists():
        raise ValueError(f"{out} exists already; remove it or choose another name.")
    save_committee(Committee([load_model(path) for path in models]), out)
    Console().print(f"{len(models)} members: {out}", markup=False, soft_wrap=True, highlight=False)
