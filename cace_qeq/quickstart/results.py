"""What a quickstart finds, and the same as plain numbers for metrics.json."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from cace_qeq.quickstart.shapes import REFERENCE, REFERENCE_START, Shape
from cace_qeq.simulation import DynamicsSummary
from cace_qeq.training import Evaluation, Metrics


@dataclass(frozen=True)
class SetErrors:
    """Errors on the test frames of one set.

    whole            of all frames
    by_total_charge  of the frames with each total charge, e
    """

    whole: Evaluation
    by_total_charge: dict[float, Evaluation]


@dataclass(frozen=True)
class Motion:
    """Dynamics of a trimer, one value per frame.

    time            fs
    angle           degrees  the widest
    middle_charge   e        of the atom there
    """

    time: tuple[float, ...]
    angle: tuple[float, ...]
    middle_charge: tuple[float, ...]
    summary: DynamicsSummary


@dataclass(frozen=True)
class Ion:
    """A silver trimer with one total charge (e): where it started, rested and went."""

    total_charge: int
    start: Shape
    relaxed: Shape
    motion: Motion

    @property
    def name(self) -> str:
        return f"Ag3{'+' if self.total_charge > 0 else '-'}"

    @property
    def reference(self) -> Shape:
        return REFERENCE[self.total_charge]

    @property
    def energy_change(self) -> float:
        """eV, from the start to the minimum"""
        return self.relaxed.energy - self.start.energy

    @property
    def reference_energy_change(self) -> float:
        return self.reference.energy - REFERENCE_START[self.total_charge]


@dataclass(frozen=True)
class Training:
    """What was trained on what.

    frames    different ones, of "train", "valid" and "test"
    versions  of the packages that took part
    """

    parameters: int
    epochs: int
    frames: dict[str, int]
    versions: dict[str, str]


@dataclass(frozen=True)
class Results:
    """A whole quickstart.

    joint       errors on all validation and on all test frames, "valid" and "test"
    sets        errors on test frames by the name of the set
    ions        positive, then negative
    training
    seconds     wall time by part, and of the processor
    """

    joint: dict[str, Evaluation]
    sets: dict[str, SetErrors]
    ions: tuple[Ion, ...]
    training: Training
    seconds: dict[str, float]


def metrics(results: Results) -> dict[str, Any]:
    """The content of metrics.json; "valid" and "test" as after any training."""
    return {
        **{name: known(evaluation.metrics) for name, evaluation in results.joint.items()},
        "sets": {name: set_metrics(errors) for name, errors in results.sets.items()},
        "relaxed": {ion.name: relaxed_metrics(ion) for ion in results.ions},
        "dynamics": {ion.name: motion_metrics(ion.motion) for ion in results.ions},
        "training": asdict(results.training),
        "seconds": results.seconds,
    }


def set_metrics(errors: SetErrors) -> dict[str, Any]:
    by_charge = {f"{charge:+g}": known(each.metrics) for charge, each in errors.by_total_charge.items()}
    return {**known(errors.whole.metrics), "by_total_charge": by_charge}


def known(errors: Metrics) -> Metrics:
    """The errors that there are: molecules have no stress."""
    return {name: value for name, value in errors.items() if value is not None}


def relaxed_metrics(ion: Ion) -> dict[str, Any]:
    return {
        **shape_metrics(ion.relaxed),
        "energy_change_ev": ion.energy_change,
        "start": shape_metrics(ion.start),
        "reference": {**shape_metrics(ion.reference), "energy_change_ev": ion.reference_energy_change},
    }


def shape_metrics(shape: Shape) -> dict[str, Any]:
    return {
        "widest_angle_degrees": shape.angle,
        "distances_angstrom": list(shape.distances),
        "charges_e": list(shape.charges),
        "energy_ev": shape.energy,
    }


def motion_metrics(motion: Motion) -> dict[str, float]:
    angles = np.array(motion.angle)
    return {
        "picoseconds": motion.summary.time,
        "energy_drift_ev_per_atom_per_ps": motion.summary.energy_drift,
        "energy_fluctuation_ev_per_atom": motion.summary.energy_fluctuation,
        "temperature_k": motion.summary.temperature,
        "mean_angle_degrees": float(angles.mean()),
        "smallest_angle_degrees": float(angles.min()),
        "largest_angle_degrees": float(angles.max()),
    }
