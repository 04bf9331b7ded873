"""Figures of the comparison, one file for each set: error against training time and inference cost, and frames."""

from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from cace_qeq.benchmark.report import Group, grouped
from cace_qeq.benchmark.runs import Finished
from cace_qeq.plots import save

FORCES = "forces_rmse_mev_per_angstrom"
LABEL = "force RMSE (meV/Å)"


def draw(results: Sequence[Finished], folder: Path) -> list[Path]:
    """For each set that was run."""
    return [draw_set(name, results, folder) for name in sorted({found.run.set for found in results})]


def draw_set(name: str, results: Sequence[Finished], folder: Path) -> Path:
    groups = {key: members for key, members in grouped(results).items() if key[0] == name}
    colors = {subject: f"C{index}" for index, subject in enumerate(sorted({key[3] for key in groups}))}
    panels = [draw_histories, draw_pareto]
    if len({key[1] for key in groups}) > 1:
        panels.append(draw_learning_curves)
    figure = Figure(figsize=(4 * len(panels), 3.8), layout="constrained")
    axes = figure.subplots(1, len(panels))
    for axis, panel in zip(axes, panels, strict=True):
        panel(axis, groups, colors)
        axis.set(xscale="log", yscale="log", ylabel=LABEL)
        for scale in (axis.xaxis, axis.yaxis):  # plain numbers, few of them
            scale.set_major_formatter(LogFormatter())
            scale.set_minor_formatter(LogFormatter(minor_thresholds=(1.5, 0.5)))
    axes[0].legend(fontsize="small")
    figure.suptitle(name)
    path = folder / f"{name}.png"
    save(figure, path)
    return path


def draw_histories(axis: Axes, groups: dict[Group, list[Finished]], colors: dict[str, str]) -> None:
    """Validation error against CPU time, of the runs with the most frames."""
    axis.set(xlabel="training (CPU s)", title="validation while training")
    largest = max(key[1] for key in groups)
    labelled = set[str]()
    for (_, frames, _, subject), members in groups.items():
        for found in members if frames == largest else []:
            history = found.result["history"]
            label = None if subject in labelled else subject
            labelled.add(subject)
            times, errors = [row["seconds"] for row in history], [row[FORCES] for row in history]
            axis.plot(times, errors, color=colors[subject], label=label, alpha=0.8)


def draw_pareto(axis: Axes, groups: dict[Group, list[Finished]], colors: dict[str, str]) -> None:
    """Error on held-out frames against inference time, of the runs with the most frames."""
    axis.set(xlabel="inference (µs/atom)", title="held out, against cost")
    largest = max(key[1] for key in groups)
    for (_, frames, budget, subject), members in groups.items():
        if frames == largest:
            cost = mean(1e6 * found.result["seconds_per_atom"] for found in members)
            error = mean(found.errors[FORCES] for found in members)
            axis.plot(cost, error, "o", color=colors[subject])
            axis.annotate(f" {budget}", (cost, error), fontsize="x-small")


def draw_learning_curves(axis: Axes, groups: dict[Group, list[Finished]], colors: dict[str, str]) -> None:
    """Error on held-out frames against training frames, one curve for each model and budget."""
    axis.set(xlabel="training frames", title="held out, against data")
    for budget, subject in sorted({(key[2], key[3]) for key in groups}):
        chosen = {key[1]: members for key, members in groups.items() if key[2:] == (budget, subject)}
        errors = [mean(found.errors[FORCES] for found in members) for members in chosen.values()]
        axis.plot(list(chosen), errors, "o-", color=colors[subject])
