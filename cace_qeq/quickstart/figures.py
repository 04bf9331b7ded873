"""The figures of the report."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cace_qeq.plots import plot_learning_curve, plot_over_time, plot_parity_of_sets
from cace_qeq.quickstart.plan import TITLES
from cace_qeq.quickstart.results import Results
from cace_qeq.training import Parity
from cace_qeq.training.folder import RunFolder

DYNAMICS = "dynamics.png"


def draw(results: Results, history: Sequence[Mapping[str, Any]], folder: RunFolder) -> dict[str, Path]:
    """Write the figures; returns their files by what they show."""
    plot_learning_curve(history, folder.learning_curve)
    plot_parity_of_sets(parities(results), folder.parity)
    plot_over_time(curves(results), folder.path / DYNAMICS)
    return {
        "learning curve": folder.learning_curve,
        "parity": folder.parity,
        "dynamics": folder.path / DYNAMICS,
    }


def parities(results: Results) -> dict[str, dict[str, Parity]]:
    """One row per set and total charge: their energies lie far apart."""
    return {
        f"{TITLES.get(name, name)}, total charge {charge:+g}": evaluation.parity
        for name, errors in results.sets.items()
        for charge, evaluation in errors.by_total_charge.items()
    }


def curves(results: Results) -> dict[str, dict[str, tuple[Sequence[float], Sequence[float]]]]:
    """Angles and charges of both ions over time."""
    motions = {ion.name: ion.motion for ion in results.ions}
    return {
        "widest angle (°)": {name: (motion.time, motion.angle) for name, motion in motions.items()},
        "charge at that angle (e)": {name: (motion.time, motion.middle_charge) for name, motion in motions.items()},
    }
