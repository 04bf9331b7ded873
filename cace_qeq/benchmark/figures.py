"""Figures of the comparison, one file for each set: error against training time and inference cost, and frames.

A code has one colour, with charges another; an optimiser and a budget have one line and one marker. Bars are standard
deviations over seeds.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cace_qeq.benchmark.report import grouped
from cace_qeq.benchmark.runs import Finished
from cace_qeq.plots import save, with_plain_numbers

FORCES = "forces_rmse_mev_per_angstrom"
LABEL = "force RMSE (meV/Å)"
LINES, MARKERS = ("-", "--", ":", "-."), ("o", "s", "^", "D")


@dataclass(frozen=True)
class Curve:
    """What the points of a curve have in common, their look aside."""

    code: str
    training: str

    @classmethod
    def of(cls, found: Finished) -> "Curve":
        code, _, model = found.run.subject.partition(" ")
        _, _, energy = model.partition(" ")
        changes = found.run.label.removeprefix(found.run.subject).removeprefix(", ")
        return cls(f"{code} {energy}".rstrip(), f"{changes}, {found.run.budget}".removeprefix(", "))


@dataclass(frozen=True)
class Looks:
    """Colours of codes; lines and markers of trainings.

    codes      of all figures, so that a code has the same colour in each
    shown      codes in this one
    trainings  in this one
    """

    codes: list[str]
    shown: list[str]
    trainings: list[str]

    @classmethod
    def of(cls, groups: Sequence[list[Finished]], results: Sequence[Finished]) -> "Looks":
        curves = {Curve.of(members[0]) for members in groups}
        codes, shown = (sorted({curve.code for curve in each}) for each in (map(Curve.of, results), curves))
        return cls(codes, shown, sorted({curve.training for curve in curves}))

    def of_curve(self, curve: Curve) -> dict[str, Any]:
        turn, style = divmod(self.trainings.index(curve.training), len(LINES))
        marker = MARKERS[(style + turn) % len(MARKERS)]
        return {"color": self.color(curve.code), "linestyle": LINES[style], "marker": marker}

    def color(self, code: str) -> str:
        return f"C{self.codes.index(code) % 10}"

    def legend(self) -> list[Line2D]:
        plain = [Line2D([], [], color=self.color(code), label=code) for code in self.shown]
        trainings = [Curve(self.codes[0], training) for training in self.trainings]
        return plain + [
            Line2D([], [], label=curve.training, **{**self.of_curve(curve), "color": "gray"}) for curve in trainings
        ]


def draw(results: Sequence[Finished], folder: Path) -> list[Path]:
    """For each set that was run."""
    return [draw_set(name, results, folder) for name in sorted({found.run.set for found in results})]


def draw_set(name: str, results: Sequence[Finished], folder: Path) -> Path:
    groups = [members for key, members in grouped(results).items() if key[0] == name]
    looks = Looks.of(groups, results)
    panels = [draw_histories, draw_costs]
    if len({members[0].result["frames"] for members in groups}) > 1:
        panels.append(draw_learning_curves)
    figure = Figure(figsize=(4 * len(panels), 4.4), layout="constrained")
    axes = figure.subplots(1, len(panels))
    for axis, panel in zip(axes, panels, strict=True):
        panel(axis, groups, looks)
        axis.set(xscale="log", yscale="log", ylabel=LABEL)
        with_plain_numbers(axis)
    figure.legend(handles=looks.legend(), fontsize="small", loc="outside lower center", ncols=4)
    figure.suptitle(name)
    path = folder / f"{name}.png"
    save(figure, path)
    return path


def with_most_frames(groups: Sequence[list[Finished]]) -> list[list[Finished]]:
    largest = max(members[0].result["frames"] for members in groups)
    return [members for members in groups if members[0].result["frames"] == largest]


def size(found: Finished) -> str:
    """What tells the models of a code apart."""
    return found.run.subject.split(" ")[1] if " " in found.run.subject else ""


def draw_histories(axis: Axes, groups: Sequence[list[Finished]], looks: Looks) -> None:
    """Validation error against CPU time, of the runs with the most frames."""
    axis.set(xlabel="training (CPU s)", title="validation while training")
    for members in with_most_frames(groups):
        look = {**looks.of_curve(Curve.of(members[0])), "marker": ""}
        for found in members:
            history = found.result["history"]
            times, errors = [row["seconds"] for row in history], [row[FORCES] for row in history]
            axis.plot(times, errors, alpha=0.8, **look)
            if history:
                axis.annotate(f" {size(found)}", (times[-1], errors[-1]), fontsize="xx-small")


def draw_costs(axis: Axes, groups: Sequence[list[Finished]], looks: Looks) -> None:
    """Error on held-out frames against inference time, of the runs with the most frames; sizes of a code joined."""
    axis.set(xlabel="inference (µs/atom)", title="held out, against cost")
    curves: dict[Curve, list[tuple[float, float, float, str]]] = defaultdict(list)
    for members in with_most_frames(groups):
        cost = mean(1e6 * found.result["seconds_per_atom"] for found in members)
        curves[Curve.of(members[0])].append((cost, *error_of(members), size(members[0])))
    for curve, points in curves.items():
        costs, errors, bars, sizes = zip(*sorted(points), strict=True)
        axis.errorbar(costs, errors, bars, markersize=4, **looks.of_curve(curve))
        for cost, error, name in zip(costs, errors, sizes, strict=True):
            axis.annotate(f" {name}", (cost, error), fontsize="x-small")


def draw_learning_curves(axis: Axes, groups: Sequence[list[Finished]], looks: Looks) -> None:
    """Error on held-out frames against training frames, of the models that were trained on several numbers of them."""
    axis.set(xlabel="training frames", title="held out, against data")
    curves: dict[tuple[Curve, str], list[tuple[int, float, float]]] = defaultdict(list)
    for members in groups:
        point = (members[0].result["frames"], *error_of(members))
        curves[Curve.of(members[0]), size(members[0])].append(point)
    for (curve, name), points in curves.items():
        if len(points) > 1:
            frames, errors, bars = zip(*sorted(points), strict=True)
            axis.errorbar(frames, errors, bars, markersize=4, **looks.of_curve(curve))
            axis.annotate(f" {name}", (frames[-1], errors[-1]), fontsize="x-small")


def error_of(members: Sequence[Finished]) -> tuple[float, float]:
    """Mean and standard deviation over seeds."""
    errors = [found.errors[FORCES] for found in members]
    return mean(errors), stdev(errors) if len(errors) > 1 else 0.0
