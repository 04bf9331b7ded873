"""Figures: predicted against reference values, and errors against epochs. Drawn without a display."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter
from numpy.typing import ArrayLike, NDArray

from cace_qeq.files import write_atomically

AXES = {
    "energy": ("energy", "eV/atom", 1000.0, "meV/atom"),
    "forces": ("force", "eV/Å", 1000.0, "meV/Å"),
    "stress": ("stress", "eV/Å³", 1000.0, "meV/Å³"),
    "charges": ("charge", "e", 1000.0, "me"),
    "dipole": ("dipole", "e Å", 1.0, "e Å"),
    "born_charges": ("Born charge", "e", 1000.0, "me"),
}
"""Name, unit of the axes, factor to the unit of the errors, that unit."""

Values = NDArray[np.float64]
BINS = 120
PANEL = 3.6  # inches


def plot_parity(values: Mapping[str, tuple[ArrayLike, ArrayLike]], path: str | Path, title: str = "") -> None:
    """Predicted over reference values, one panel per property, coloured by how many values fall on a spot.

    values  "energy", "forces", "stress", "charges", "dipole", "born_charges" to (reference, predicted), in eV, Å, e

    raises  ValueError for no property, or two arrays that differ in length
    """
    plot_parity_of_sets({title: values}, path)


def plot_parity_of_sets(sets: Mapping[str, Mapping[str, tuple[ArrayLike, ArrayLike]]], path: str | Path) -> None:
    """The same for several sets of structures with scales of their own, one row each, by title.

    raises  ValueError for no property, or two arrays that differ in length
    """
    widest = max((len(values) for values in sets.values()), default=0)
    if not widest:
        raise ValueError("a parity plot needs at least one property with labels and predictions")
    figure = Figure(figsize=(PANEL * widest, (PANEL + 0.2) * len(sets)), layout="constrained")
    rows = figure.subfigures(len(sets), 1, squeeze=False)[:, 0]
    for row, (title, values) in zip(rows, sets.items(), strict=True):
        row.suptitle(title)
        panels = row.subplots(1, widest, squeeze=False)[0]
        for axes, (name, (reference, predicted)) in zip(panels, values.items(), strict=False):
            draw_parity(axes, name, np.asarray(reference, dtype=float), np.asarray(predicted, dtype=float))
        for axes in panels[len(values) :]:
            axes.set_axis_off()
    save(figure, path)


def draw_parity(axes: Axes, name: str, reference: Values, predicted: Values) -> None:
    """One panel, with the errors in a corner."""
    if reference.shape != predicted.shape:
        raise ValueError(f"{name}: {reference.size} reference values but {predicted.size} predicted ones")
    label, unit, factor, error_unit = AXES[name]
    low, high = limits(np.concatenate([reference, predicted]))
    axes.plot([low, high], [low, high], color="0.6", linewidth=0.8, zorder=0)
    x, y, count = density(reference, predicted, low, high)
    colours = LogNorm(1, max(2, count.max()))
    axes.scatter(x, y, c=count, s=5, marker="s", linewidths=0, cmap="viridis", norm=colours)
    axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")
    axes.set(xlabel=f"reference {label} ({unit})", ylabel=f"predicted {label} ({unit})")
    text = error_text(predicted - reference, factor, error_unit)
    axes.text(0.04, 0.96, text, transform=axes.transAxes, va="top")


def error_text(error: Values, factor: float, unit: str) -> str:
    square, absolute = factor * np.sqrt(np.mean(error**2)), factor * np.mean(np.abs(error))
    return f"RMSE {square:.3g} {unit}\nMAE {absolute:.3g} {unit}"


def limits(values: Values) -> tuple[float, float]:
    """A little beyond the smallest and the largest value."""
    low, high = float(values.min()), float(values.max())
    margin = 0.04 * (high - low) or 0.5
    return low - margin, high + margin


def density(x: Values, y: Values, low: float, high: float) -> tuple[Values, Values, Values]:
    """Occupied cells of a grid: their centres, and how many points each holds; the fullest last, on top."""
    counts, edges, _ = np.histogram2d(x, y, bins=BINS, range=[[low, high], [low, high]])
    centres = (edges[1:] + edges[:-1]) / 2
    row, column = np.nonzero(counts)
    order = np.argsort(counts[row, column])
    return centres[row][order], centres[column][order], counts[row, column][order]


def plot_learning_curve(history: Sequence[Mapping[str, Any]], path: str | Path) -> None:
    """Losses and validation errors over epochs, one panel each, with the beginnings of stages marked.

    history  one record per epoch: "epoch", "stage", "train_loss", and where validated "valid_loss" and
             "<property>_rmse_<unit>"

    raises  ValueError for an empty history
    """
    if not history:
        raise ValueError("a learning curve needs at least one finished epoch")
    errors = [name for name in dict.fromkeys(key for row in history for key in row) if "_rmse_" in name]
    errors = [name for name in errors if any(row.get(name) is not None for row in history)]
    figure = Figure(figsize=(PANEL * (1 + len(errors)), PANEL), layout="constrained")
    first, *others = figure.subplots(1, 1 + len(errors), squeeze=False)[0]
    draw_curve(first, history, "train_loss", "training")
    draw_curve(first, history, "valid_loss", "validation")
    first.set_ylabel("loss")
    first.legend(frameon=False)
    for axes, name in zip(others, errors, strict=True):
        draw_curve(axes, history, name, "validation")
        label, _, _, unit = AXES[name.partition("_rmse_")[0]]
        axes.set_ylabel(f"{label} RMSE ({unit})")
    for axes in (first, *others):
        mark_stages(axes, history)
    save(figure, path)


def draw_curve(axes: Axes, history: Sequence[Mapping[str, Any]], name: str, label: str) -> None:
    rows = [row for row in history if row.get(name) is not None]
    axes.plot([row["epoch"] for row in rows], [row[name] for row in rows], label=label, linewidth=1.2)
    axes.set(xlabel="epoch", yscale="log")


def mark_stages(axes: Axes, history: Sequence[Mapping[str, Any]]) -> None:
    """A line where one stage follows another."""
    for before, after in zip(history, history[1:], strict=False):
        if before["stage"] != after["stage"]:
            axes.axvline(before["epoch"] + 0.5, color="0.7", linewidth=0.8, linestyle="--")


def plot_over_time(panels: Mapping[str, Mapping[str, tuple[ArrayLike, ArrayLike]]], path: str | Path) -> None:
    """Quantities of simulations over time, one panel each.

    panels  label of the vertical axis, to runs by name, to (time, values); fs
    """
    figure = Figure(figsize=(2 * PANEL, 0.75 * PANEL * len(panels)), layout="constrained")
    rows = figure.subplots(len(panels), 1, squeeze=False, sharex=True)[:, 0]
    for axes, (label, runs) in zip(rows, panels.items(), strict=True):
        for name, (time, values) in runs.items():
            axes.plot(time, values, label=name, linewidth=1.2)
        axes.set_ylabel(label)
    rows[-1].set_xlabel("time (fs)")
    rows[0].legend(frameon=False, ncols=2, loc="lower right", bbox_to_anchor=(1.0, 1.0))
    save(figure, path)


def plot_spectrum(wavenumbers: ArrayLike, intensities: ArrayLike, path: str | Path) -> None:
    """Infrared absorption; 1/cm and km/mol per 1/cm."""
    figure = Figure(figsize=(2 * PANEL, PANEL), layout="constrained")
    axes = figure.subplots()
    axes.plot(wavenumbers, intensities, linewidth=1.0)
    axes.set(xlabel="wavenumber (1/cm)", ylabel="absorption (km/mol per 1/cm)")
    axes.margins(x=0)
    axes.set_ylim(bottom=0)
    save(figure, path)


def with_plain_numbers(axes: Axes) -> None:
    """Logarithmic axes with few ticks, and numbers instead of powers of ten."""
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(LogFormatter())
        axis.set_minor_formatter(LogFormatter(minor_thresholds=(1.5, 0.5)))


def save(figure: Figure, path: str | Path) -> None:
    """The format follows the name's ending; the file appears whole or not at all."""
    content = io.BytesIO()
    figure.savefig(content, format=Path(path).suffix[1:] or "png", dpi=150)
    write_atomically(path, content.getvalue())
