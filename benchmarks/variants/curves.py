"""Errors against the number of training frames."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from matplotlib.figure import Figure

from cace_qeq.plots import save, with_plain_numbers
from variants.outcomes import SHOWN


def draw(rows: Mapping[str, Sequence[dict[str, Any]]], path: Path) -> None:
    """One panel for each property, one curve for each kind of model."""
    figure = Figure(figsize=(4 * len(SHOWN), 3.6), layout="constrained")
    axes = figure.subplots(1, len(SHOWN))
    for axis, (error, label) in zip(axes, SHOWN.items(), strict=True):
        for kind, points in curves(rows, error).items():
            axis.plot([n for n, _ in points], [value for _, value in points], "o-", label=kind)
        axis.set(xscale="log", yscale="log", xlabel="training frames", ylabel=label)
        with_plain_numbers(axis)
    axes[0].legend()
    save(figure, path)


def curves(rows: Mapping[str, Sequence[dict[str, Any]]], error: str) -> dict[str, list[tuple[int, float]]]:
    """By kind: number of frames and mean error over seeds, where it is known."""
    found: dict[str, list[tuple[int, float]]] = {}
    for results in rows.values():
        values = [result[error] for result in results if result.get(error) is not None]
        if values:
            found.setdefault(results[0]["kind"], []).append((results[0]["frames"], mean(values)))
    return {kind: sorted(points) for kind, points in found.items()}
