"""Command line: label systems and write data/NAME/."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from generate.build import SYSTEMS, build, planned, write
from generate.datasheet import datasheet

DATA = Path(__file__).resolve().parent.parent


def main(
    names: Annotated[list[str], typer.Argument(help=f"Systems to make, of {', '.join(SYSTEMS)}.")],
    out: Annotated[Path, typer.Option(help="Folder that receives one folder per system.")] = DATA,
    frames: Annotated[
        int | None,
        typer.Option(min=22, help="At most so many per kind, for a trial; fewer leave a split empty."),
    ] = None,
) -> None:
    """Label structures with GFN1-xTB and write train, valid and test sets with a datasheet."""
    if unknown := set(names) - set(SYSTEMS):
        raise typer.BadParameter(f"{', '.join(unknown)}: choose from {', '.join(SYSTEMS)}")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        for system in names:
            task = progress.add_task(f"{system}: relaxing", total=None)
            streams = planned(system, frames)
            progress.update(task, description=system, total=sum(stream.n_frames for stream in streams))
            data = build(system, streams, partial(progress.advance, task))
            write(data, out / system)
            (out / system / "README.md").write_text(datasheet(data))


if __name__ == "__main__":
    typer.run(main)
