"""A run as tables."""

from typing import Any

from rich.table import Table

from cace_qeq.benchmark.workers import Allocator
from speed.outcome import Record, judged

VERDICTS = {True: "yes", False: "no", None: "–"}


def goals_table(record: Record, allocators: tuple[Allocator, ...]) -> Table:
    """What was hoped for, and what was reached under each allocator."""
    names = [allocator.name for allocator in allocators]
    table = Table(title="Goals", caption="; ".join(f"{a.name}: {a.description}" for a in allocators))
    table.add_column("quantity")
    table.add_column("goal")
    for name in names:
        table.add_column(name, justify="right")
    table.add_column("met")
    for row in judged(record, names):
        reached = [shown(row["reached"][name]) for name in names]
        table.add_row(row["quantity"], row["goal"], *reached, VERDICTS[row["met"]])
    return table


def shown(value: float | None) -> str:
    """A quotient as 1/x where it is below one."""
    if value is None:
        return "–"
    return f"1/{1 / value:.3g}" if 0 < value < 1 else f"{value:.3g}"


def times_table(record: Record) -> Table:
    """Every value."""
    table = Table(title="Medians")
    for column in ("item", "subject", "default", "tuned", "unit"):
        table.add_column(column, justify="right" if column in ("default", "tuned") else "left")
    for name, item in record.items.items():
        for subject, found in item["subjects"].items():
            table.add_row(name, subject, value(found, "default"), value(found, "tuned"), item["unit"])
        table.add_section()
    for note in record.notes:
        table.add_row("not measured", note)
    return table


def value(found: dict[str, Any], allocator: str) -> str:
    return f"{found[allocator]['value']:.4g}" if allocator in found else "–"
