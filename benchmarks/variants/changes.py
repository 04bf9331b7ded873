"""What a configuration may be changed in: pure functions from its plain values to new ones."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cace_qeq.training import TrainConfig, parse_config

BESIDE = Path("../shared/data")

Values = dict[str, Any]
Change = Callable[[Values], Values]


def same(values: Values) -> Values:
    return copy.deepcopy(values)


def model(**fields: Any) -> Change:
    """Other fields of the model."""
    return section("model", fields)


def training(**fields: Any) -> Change:
    """Other fields of the training."""
    return section("training", fields)


def sets_in(folder: Path) -> Change:
    """Downloaded sets lie elsewhere than beside the checkout."""

    def moved(path: str) -> str:
        known = Path(path)
        return str(folder / known.relative_to(BESIDE)) if known.is_relative_to(BESIDE) else path

    def change(values: Values) -> Values:
        changed = copy.deepcopy(values)
        parts = {part: paths for part, paths in changed["data"].items() if isinstance(paths, list)}
        changed["data"] |= {part: list(map(moved, paths)) for part, paths in parts.items()}
        return changed

    return change


def section(name: str, fields: Values) -> Change:
    def change(values: Values) -> Values:
        changed = copy.deepcopy(values)
        changed[name] |= fields
        return changed

    return change


def without_charges(values: Values) -> Values:
    """No equilibration at all: no charges to predict or to train on, and no knowledge of the total charge.

    Stages that train charges alone are left out.
    """
    changed = without_charge_labels(values)
    changed["model"] |= {"energy": "none", "charge_feedback": "none"}
    changed["model"] |= {"environment_hardness": False, "learn_widths": False, "closed_shells": False}
    for name in ("learn_hardness", "widths", "background", "ewald_accuracy"):
        changed["model"].pop(name, None)
    return changed


def without_charge_labels(values: Values) -> Values:
    """Charges follow from energies and forces alone; stages that train nothing else are left out."""
    changed = copy.deepcopy(values)
    training = changed["training"]
    kept = [stage for stage in training.get("stages") or () if trains_energies(stage["weights"])]
    for weights in [stage["weights"] for stage in kept] + [training.setdefault("weights", {"energy": 10, "forces": 1})]:
        weights |= {"charges": 0, "dipole": 0}
    training["stages"] = kept
    return changed


def trains_energies(weights: Values) -> bool:
    return any(weights.get(name) for name in ("energy", "forces", "stress"))


def epochs_times(factor: float) -> Change:
    """Shorter or longer stages, of one epoch at least, whatever time they take."""

    def change(values: Values) -> Values:
        changed = copy.deepcopy(values)
        training = changed["training"]
        training["max_minutes"] = None
        for part in training.get("stages") or [training]:
            if "epochs" in part:
                part["epochs"] = max(1, round(factor * part["epochs"]))
        return changed

    return change


def seeded(seed: int) -> Change:
    return training(seed=seed)


def changed(config: TrainConfig, name: str, *changes: Change) -> TrainConfig:
    """The configuration after all changes, with an output folder of its own name.

    raises  ValueError for what the changes make of it
    """
    values = config.model_dump(mode="json")
    for change in changes:
        values = change(values)
    values["training"]["output"] = f"{config.training.output}_{name.replace(' ', '_')}"
    return parse_config(values, name)
