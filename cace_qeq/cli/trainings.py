"""Several trainings in a row as seen on a terminal."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from cace_qeq.benchmark import Run
from cace_qeq.cli.progress import Live

FORCES = "forces_rmse_mev_per_angstrom"


class Trainings(Live):
    """A bar over all trainings, and one over the budget of the present one with its last error."""

    def __init__(self, runs: Sequence[Run], console: Console):
        self.progress = Progress(
            TextColumn("{task.description}"), BarColumn(),
            TextColumn("{task.percentage:.0f} %"), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"), console=console, transient=True,
        )  # fmt: skip
        self.done = 0
        self.all = self.progress.add_task(f"{len(runs)} trainings", total=len(runs), note="")

    @contextmanager
    def shown(self, one: Run) -> Iterator[Callable[[dict[str, float]], None]]:
        """What takes the words of the training."""
        task = self.progress.add_task(one.title, total=1, note="preparing")

        def tell(row: dict[str, float]) -> None:
            if FORCES in row:
                self.progress.update(task, note=f"F {row[FORCES]:.4g} meV/Å")
            self.progress.update(task, completed=row["done"])
            self.progress.update(self.all, completed=self.done + row["done"])

        try:
            yield tell
        finally:
            self.progress.remove_task(task)
            self.done += 1
            self.progress.update(self.all, completed=self.done)
