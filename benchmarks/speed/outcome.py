"""Measured values: samples to medians and slopes, and the record of a run."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np

from speed.goals import GOALS, Goal, Key


@dataclass
class Record:
    """Everything measured so far, as it is written.

    items  by name: {"unit", ..., "subjects": {subject: {allocator: {"value", ...}}}}
    notes  what could not be measured, and why
    """

    items: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def values(self, allocator: str) -> dict[Key, float]:
        """(item, subject) -> value, of one allocator; times per atom under "NAME/atom"."""
        values = {}
        for name, item in self.items.items():
            for subject, found in item["subjects"].items():
                if allocator in found:
                    values[name, subject] = found[allocator]["value"]
                if allocator in found and item["unit"] == "ms":
                    values[f"{name}/atom", subject] = found[allocator]["value"] / (item["atoms"] * item["frames"])
        return values

    def add(self, item: str, about: dict[str, Any], subject: str, allocator: str, found: dict[str, Any]) -> None:
        """One value; `about` says what the item is."""
        subjects = self.items.setdefault(item, {**about, "subjects": {}})["subjects"]
        subjects.setdefault(subject, {})[allocator] = found


def milliseconds(answers: Sequence[dict[str, list[float]]], device: str = "cpu") -> dict[str, Any]:
    """Medians over all calls of all turns. The value is CPU time, on a GPU time on the clock.

    answers  to "run" requests, s
    """
    cpu = [1e3 * second for answer in answers for second in answer["cpu"]]
    wall = [1e3 * second for answer in answers for second in answer["wall"]]
    if device != "cpu":
        return {"value": median(wall), "cpu": median(cpu), "smallest": min(wall), "calls": len(wall)}
    return {"value": median(cpu), "wall": median(wall), "smallest": min(cpu), "calls": len(cpu)}


def add_bandwidths(record: Record, copied: float) -> None:
    """The share of the bandwidth of a copy that operations reach, where their traffic is known.

    copied  bytes/s read and written
    """
    for item in record.items.values():
        for by_allocator in item["subjects"].values():
            for found in by_allocator.values():
                if "bytes" in found:
                    found["share_of_bandwidth"] = found["bytes"] / (1e-3 * found["value"]) / copied


def slope(atoms: Sequence[int], kilobytes: Sequence[float]) -> tuple[float, float]:
    """Least-squares line through peak memory: kB per atom, and kB at no atoms."""
    per_atom, offset = np.polyfit(atoms, kilobytes, 1)
    return float(per_atom), float(offset)


def judged(record: Record, allocators: Iterable[str]) -> list[dict[str, Any]]:
    """Every goal with what was reached under each allocator; met only if met under all that were measured."""
    return [judgement(goal, {name: record.values(name) for name in allocators}) for goal in GOALS]


def judgement(goal: Goal, values: dict[str, dict[Key, float]]) -> dict[str, Any]:
    verdicts = [goal.met(found) for found in values.values()]
    known = [verdict for verdict in verdicts if verdict is not None]
    return {
        "quantity": goal.quantity,
        "goal": goal.wording,
        "reached": {name: goal.reached(found) for name, found in values.items()},
        "met": all(known) if known else None,
    }
