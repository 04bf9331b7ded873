"""`cace-qeq convert`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cace_qeq.cli.evaluate import Keys, label_keys
from cace_qeq.simulation.trajectory import named_as_xyz
from cace_qeq.structures import left_out, read_frames, refuse_absent, told_of_predictions, write_frames

Source = Annotated[Path, typer.Argument(help="Labelled frames: RuNNer's input.data, or any format that ASE reads.")]
Target = Annotated[Path, typer.Argument(help="The extended xyz file to write.")]


def convert(source: Source, target: Target, keys: Keys = "") -> None:
    """Write labelled frames as extended xyz in eV, Å and e, under the keys that training looks for."""
    if named_as_xyz(target).exists():
        raise FileExistsError(f"{target} exists already; choose another name.")
    frames, names = read_frames(source), label_keys(keys)
    refuse_absent(names, frames, "--keys")
    write_frames(target, frames, names)
    console = Console(markup=False, highlight=False)
    console.print(f"{len(frames)} frames: {target}", soft_wrap=True)
    if dropped := left_out(frames, names):
        console.print(f"Left out: {', '.join(dropped)}. Labels among them need --keys.", soft_wrap=True)
    if told := told_of_predictions(frames, "--keys"):
        console.print(told, soft_wrap=True)
