"""`cace-qeq quickstart`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from cace_qeq.cli.md import MovingBar
from cace_qeq.cli.progress import RichReporter
from cace_qeq.cli.tables import metrics_table
from cace_qeq.quickstart import REPORT, Plan, Results
from cace_qeq.quickstart import quickstart as run

OutOption = Annotated[Path, typer.Option(help="Folder that receives the model, the figures and report.html.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace an earlier quickstart in the folder.")]


def quickstart(out: OutOption = Path("quickstart_run"), overwrite: OverwriteOption = False) -> None:
    """Train on the shipped silver and sodium chloride sets, evaluate, run dynamics, write a report.

    Takes a few minutes.
    """
    console = Console()
    try:
        results = run(Plan(out), "overwrite" if overwrite else "new", RichNarrator(console))
    except KeyboardInterrupt:
        console.print(
            f"Interrupted; start again with: cace-qeq quickstart --out {out} --overwrite", markup=False, soft_wrap=True
        )
        raise typer.Exit(130) from None
    for name, errors in results.sets.items():
        console.print(metrics_table(f"Errors on test frames, {name}", errors.whole.metrics))
    console.print(ion_table(results))
    console.print(f"Report: {out / REPORT}", markup=False, highlight=False, soft_wrap=True)


class RichNarrator:
    """Progress bars with the time left, for training and for each run of dynamics."""

    def __init__(self, console: Console):
        self.console = console
        self.training = ValidatedEpochs()

    @contextmanager
    def dynamics(self, title: str, n_steps: int) -> Iterator[MovingBar]:
        self.console.print(title, highlight=False, soft_wrap=True)
        with MovingBar(n_steps, self.console) as bar:
            yield bar


class ValidatedEpochs(RichReporter):
    """A line only for epochs that were validated."""

    def epoch_ended(self, record: dict[str, Any]) -> None:
        if "valid_loss" in record:
            super().epoch_ended(record)


def ion_table(results: Results) -> Table:
    """The point of it all."""
    table = Table(title="Total charge decides the geometry")
    for column in ("ion", "relaxed angle (°)", "reference (°)", "is", "energy drift (eV/atom/ps)"):
        table.add_column(column, justify="left" if column in ("ion", "is") else "right")
    for ion in results.ions:
        angles = f"{ion.relaxed.angle:.1f}", f"{ion.reference.angle:.1f}"
        table.add_row(ion.name, *angles, ion.relaxed.name, f"{ion.motion.summary.energy_drift:.1e}")
    return table
