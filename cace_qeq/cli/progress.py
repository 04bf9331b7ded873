"""Training as seen on a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from cace_qeq.cli.tables import label_table
from cace_qeq.training import Summary

SHOWN = (
    ("energy_rmse_mev_per_atom", "E {:.3g} meV/atom"),
    ("forces_rmse_mev_per_angstrom", "F {:.4g} meV/Å"),
    ("stress_rmse_mev_per_angstrom3", "S {:.3g} meV/Å³"),
    ("charges_rmse_me", "q {:.3g} me"),
    ("dipole_rmse_e_angstrom", "μ {:.3g} e Å"),
    ("born_charges_rmse_me", "Z* {:.4g} me"),
)


class Live:
    """Shows its `progress` while a `with` block lasts."""

    progress: Progress

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()


class RichReporter:
    """A table before training, a progress bar with the time left, and one line per epoch.

    The display begins with the first epoch: until then the reporter is plain data that a process can be sent.
    """

    def __init__(self) -> None:
        self.display: Display | None = None

    @contextmanager
    def preparing(self, n_frames: int) -> Iterator[Callable[[], None]]:
        with Progress(transient=True) as progress:
            task = progress.add_task("preparing frames", total=n_frames)
            yield lambda: progress.advance(task)

    def prepared(self, summary: Summary) -> None:
        console = Console()
        console.print(label_table(summary))
        sizes = ", ".join(f"{summary.frames[name]} {name} ({summary.atoms[name]} atoms)" for name in summary.frames)
        console.print(f"Frames: {sizes}. Atomic numbers: {list(summary.species)}.", highlight=False)
        charges = ", ".join(f"{charge:+g}" if charge else "0" for charge in summary.total_charges)
        console.print(f"Total charges of the training frames: {charges} e.", highlight=False)
        console.print(f"Parameters: {summary.n_parameters}.", highlight=False)
        for note in summary.notes:
            console.print(f"[yellow]{escape(note)}")

    def epoch_began(self, epoch: int, n_epochs: int, n_steps: int) -> None:
        if self.display is None:
            self.display = Display(epoch, n_epochs)
        self.display.begin(epoch, n_steps)

    def stepped(self) -> None:
        if self.display:
            self.display.step()

    def epoch_ended(self, record: dict[str, Any]) -> None:
        if self.display:
            self.display.line(record)

    def ended(self) -> None:
        if self.display:
            self.display.close()


class Display:
    """The live part: one bar whose unit is an epoch and which moves with every step."""

    def __init__(self, epoch: int, n_epochs: int):
        self.progress = Progress(
            TextColumn("training"), BarColumn(), TextColumn("epoch"), MofNCompleteColumn(),
            TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
        )  # fmt: skip
        self.n_steps = 1
        self.task = self.progress.add_task("training", total=n_epochs, completed=epoch - 1)
        self.progress.start()

    def begin(self, epoch: int, n_steps: int) -> None:
        self.n_steps = n_steps
        self.progress.update(self.task, completed=epoch - 1)

    def step(self) -> None:
        self.progress.advance(self.task, 1 / self.n_steps)

    def line(self, record: dict[str, Any]) -> None:
        self.progress.update(self.task, completed=record["epoch"])  # steps add up to it but for rounding
        parts = [f"epoch {record['epoch']} ({record['stage']})", f"loss {record['train_loss']:.4g}"]
        if "valid_loss" in record:
            parts.append(f"validation {record['valid_loss']:.4g}")
        parts += [text.format(record[name]) for name, text in SHOWN if record.get(name) is not None]
        line = "  ".join([*parts, f"{record['seconds']:.1f} s"])
        self.progress.console.print(line, highlight=False, soft_wrap=True)

    def close(self) -> None:
        self.progress.stop()
