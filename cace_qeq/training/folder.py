"""The output folder of a run: which files it holds, and who may write into it."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cace_qeq.files import is_empty, write_atomically
from cace_qeq.training.config import TrainConfig, TrainingConfig, dump_config, load_config

Start = Literal["new", "resume", "overwrite"]
MAY_CHANGE = {"max_minutes", "threads", "device", "processes", "compile"}
"""Training settings that a resumed run may change: they do not change its gradients, or only by rounding."""
PLACES = {"data": ("train", "valid", "test"), "training": ("output", "start_from")}
"""Paths, which may change as well: it is the files that a run is compared by."""


@dataclass(frozen=True)
class RunFolder:
    """Where a run keeps its files."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def model(self) -> Path:
        return self.path / "model.safetensors"

    @property
    def state(self) -> Path:
        return self.path / "state" / "run.safetensors"

    @property
    def log(self) -> Path:
        return self.path / "log.csv"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.json"

    @property
    def tensorboard(self) -> Path:
        return self.path / "tensorboard"

    @property
    def learning_curve(self) -> Path:
        return self.path / "learning_curve.png"

    @property
    def parity(self) -> Path:
        return self.path / "parity.png"

    def check(self, config: TrainConfig, start: Start) -> None:
        """Raise ValueError if the folder may not be written in this way, PermissionError if not at all."""
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(f"{self.path} is a file; choose a folder as training.output.")
        if start == "new" and not is_empty(self.path):
            raise ValueError(
                f"{self.path} already holds files; continue that run with --resume, replace it with "
                "--overwrite, or choose another training.output."
            )
        there = next(place for place in (self.path.resolve(), *self.path.resolve().parents) if place.exists())
        if not os.access(there, os.W_OK):
            raise PermissionError(f"nothing can be written in {there}; choose another training.output.")
        origin = config.training.start_from
        if origin is not None and origin.resolve() == self.model.resolve():
            raise ValueError(f"training.start_from is {origin}, which this run would replace; choose another output.")
        if start == "resume":
            if not self.config.exists():
                raise ValueError(f"{self.path} holds no run to resume (no config.yaml); start it without --resume.")
            refuse_changes(load_config(self.config), config, self.config)
            if not self.state.exists() and (self.model.exists() or self.log.exists()):
                raise ValueError(
                    f"{self.path} holds a run but not its {self.state.relative_to(self.path)}, without which it would "
                    "begin anew; bring that back, replace the run with --overwrite, or choose another training.output."
                )

    def claim(self, config: TrainConfig, start: Start) -> None:
        """Clear the files of a replaced run and write the configuration."""
        if start == "overwrite":
            self.clear()
        write_atomically(self.config, dump_config(config).encode())

    def clear(self) -> None:
        """Remove the files of a run, and only those."""
        for file in (
            self.state,
            self.model,
            self.log,
            self.metrics,
            self.learning_curve,
            self.parity,
            self.config,
        ):
            file.unlink(missing_ok=True)
        shutil.rmtree(self.tensorboard, ignore_errors=True)


def refuse_changes(before: TrainConfig, now: TrainConfig, path: Path) -> None:
    """Raise ValueError if a resumed run would differ from the one that it continues."""
    old, new = without_places(before), without_places(now)
    changed = [
        f"{section}.{key}"
        for section in old
        for key in old[section].keys() | new[section].keys()
        if old[section].get(key) != new[section].get(key) and key not in MAY_CHANGE
    ]
    if is_longer(before.training, now.training):
        changed.remove("training.epochs")
    if changed:
        raise ValueError(
            f"the run of {path} had other settings: {', '.join(sorted(changed))}; resume with the same ones "
            f"(only paths, {', '.join(sorted(MAY_CHANGE))} may change, and with schedule: constant or plateau epochs "
            "may be added), start again with --overwrite, or begin another run with its model by training.start_from."
        )


def is_longer(before: TrainingConfig, now: TrainingConfig) -> bool:
    """Whether epochs are added to a schedule that does not depend on their number."""
    return now.schedule != "cosine" and now.epochs > before.epochs


def without_places(config: TrainConfig) -> dict[str, Any]:
    values: dict[str, Any] = config.model_dump(mode="json")
    for section, names in PLACES.items():
        for name in names:
            if not isinstance(values[section][name], float):  # a share of the training frames
                values[section][name] = None
    return values
