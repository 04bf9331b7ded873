"""Results and summaries as tables."""

from collections.abc import Mapping

from rich.markup import escape
from rich.table import Table

from cace_qeq.training import Summary

UNITS = {
    "energy": "meV/atom",
    "forces": "meV/Å",
    "stress": "meV/Å³",
    "charges": "me",
    "dipole": "e Å",
    "born_charges": "me",
}


def metrics_table(title: str, metrics: Mapping[str, float | int | None]) -> Table:
    """One row per property that has any, with its errors."""
    table = Table(title=title)
    for column in ("property", "RMSE", "MAE", "unit", "RMSE, % of spread"):
        table.add_column(column, justify="left" if column in ("property", "unit") else "right")
    for name, unit in UNITS.items():
        errors = [found(metrics, f"{name}_{kind}") for kind in ("rmse", "mae", "percent_of_spread")]
        if any(value is not None for value in errors):
            root_mean_square, absolute, relative = (f"{value:.4g}" if value is not None else "–" for value in errors)
            table.add_row(name, root_mean_square, absolute, unit, relative)
    if "n_structures" in metrics:
        table.caption = f"{metrics['n_structures']} structures, {metrics['n_atoms']} atoms"
    return table


def groups_table(title: str, groups: Mapping[str, Mapping[str, float | int | None]]) -> Table:
    """One row per group with the root mean square error of every property that any of them has."""
    shown = [name for name in UNITS if any(found(metrics, f"{name}_rmse") is not None for metrics in groups.values())]
    table = Table(title=title)
    for column in ("group", "frames", *(f"{name} ({UNITS[name]})" for name in shown)):
        table.add_column(column, justify="left" if column == "group" else "right")
    for group, metrics in groups.items():
        errors = (found(metrics, f"{name}_rmse") for name in shown)
        cells = (f"{error:.4g}" if error is not None else "–" for error in errors)
        table.add_row(escape(group), str(metrics["n_structures"]), *cells)
    return table


def found(metrics: Mapping[str, float | int | None], beginning: str) -> float | int | None:
    """The number whose name begins so; what may follow is its unit."""
    return next((value for key, value in metrics.items() if key.startswith(beginning)), None)


def spread_table(title: str, metrics: Mapping[str, float | int | None]) -> Table:
    """One row per property of `spread_metrics`."""
    table = Table(title=title)
    for column in ("property", "RMS spread", "unit", "RMS error / RMS spread", "rank correlation with the error"):
        table.add_column(column, justify="left" if column in ("property", "unit") else "right")
    for name, unit in UNITS.items():
        values = [found(metrics, f"spread_{name}_{kind}") for kind in ("rms", "error_ratio", "correlation")]
        size, ratio, correlation = (f"{value:.3g}" if value is not None else "–" for value in values)
        table.add_row(name, size, unit, ratio, correlation)
    return table


def label_table(summary: Summary) -> Table:
    """What will be trained on; what has neither labels nor weight is left out."""
    table = Table(title="Labels of the training frames")
    for column in ("property", "read from", "frames", "validation frames", "values", "weight"):
        table.add_column(column, justify="left" if column in ("property", "read from") else "right")
    for row in summary.rows:
        if not (row.train or row.valid or any(row.weights)):
            continue
        keys = ", ".join(f"{key} ({count})" for key, count in row.keys.items()) or "–"
        weights = " → ".join(f"{weight:g}" for weight in row.weights)
        table.add_row(row.property, keys, str(row.train), str(row.valid), str(row.values), weights)
    return table
