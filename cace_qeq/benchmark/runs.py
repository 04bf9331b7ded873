"""Trainings of the comparison: what distinguishes them, where their results lie, and reading those."""

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cace_qeq.config import PRESETS

# By optimiser. Adam's are what the codes' own manuals recommend for sets of few small frames, of which steps are many;
# SOAP's of the peers are the best of those tried (docs/benchmarks.md).
LEARNING_RATES = {
    "adamw": {"cace_qeq": 0.005, "nequip": 0.01, "mace": 0.01},
    "soap": {"cace_qeq": 0.005, "nequip": 0.03, "mace": 0.03},
}
OPTIMIZERS = tuple(LEARNING_RATES)
ENERGY_WEIGHTS = (10.0, 100.0)
ENERGY_RAMP = (0.5, 0.9)  # of the budget; a step at 0.7 upset forces for good with AdamW
CHARGE_WEIGHT = 5.0
CUTOFF, BATCH = 5.0, 5
RESULT = {
    "errors",
    "frames",
    "history",
    "parameters",
    "peak_memory_mb",
    "seconds_per_atom",
    "steps",
    "training_seconds",
}


CHARGED = {"equilibrated", "coulomb"}


@dataclass(frozen=True)
class Run:
    """One model trained once.

    subject        code and size, e.g. "nequip S"; "equilibrated" or "coulomb" behind our own gives them charges
    seconds        CPU time of training, or 0 if epochs count
    frames         how many of the training frames, 0 for all
    cutoff         Å
    batch          frames of a step
    optimizer      adamw, which the codes' own trainings come closest to, or soap, which ours uses
    epochs         passes over the frames, or 0 if seconds count
    learning_rate  the largest, 0 for the usual one of the code with that optimiser
    energy_ramp    shares of the budget between which the weight of energies grows

    raises  ValueError for a code that is not compared, another optimiser, not one budget, a negative rate
    """

    set: str
    subject: str
    seed: int
    seconds: float
    frames: int = 0
    cutoff: float = CUTOFF
    batch: int = BATCH
    optimizer: str = OPTIMIZERS[0]
    epochs: int = 0
    learning_rate: float = 0.0
    energy_ramp: tuple[float, float] = ENERGY_RAMP

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(f"optimizer {self.optimizer!r} is none of {', '.join(OPTIMIZERS)}.")
        usual = LEARNING_RATES[self.optimizer]
        if self.engine not in usual:
            raise ValueError(f"model {self.subject!r}: {self.engine!r} is none of the codes {', '.join(usual)}.")
        if self.engine == "cace_qeq":
            refuse_other_sizes(self.subject)
        if bool(self.seconds) == bool(self.epochs):
            raise ValueError("a training has a budget of seconds or of epochs, not of both.")
        if not 0 <= self.learning_rate < math.inf:
            raise ValueError(f"learning rate {self.learning_rate:g}: expected a positive number.")
        if self.learning_rate == usual[self.engine]:
            object.__setattr__(self, "learning_rate", 0.0)

    @property
    def engine(self) -> str:
        return self.subject.partition(" ")[0]

    @property
    def rate(self) -> float:
        """The learning rate."""
        return self.learning_rate or LEARNING_RATES[self.optimizer][self.engine]

    @property
    def label(self) -> str:
        """The subject, and what is not as usual."""
        changes = [f"cutoff {self.cutoff:g} Å"] if self.cutoff != CUTOFF else []
        changes += [f"batch {self.batch}"] if self.batch != BATCH else []
        changes += [self.optimizer] if self.optimizer != OPTIMIZERS[0] else []
        changes += [f"rate {self.learning_rate:g}"] if self.learning_rate else []
        shares = "-".join(f"{100 * share:g}" for share in sorted(set(self.energy_ramp)))
        changes += [f"energies at {shares} %"] if self.energy_ramp != ENERGY_RAMP else []
        return ", ".join([self.subject, *changes])

    @property
    def budget(self) -> str:
        return f"{self.epochs} epochs" if self.epochs else f"{self.seconds:g} s"

    @property
    def name(self) -> str:
        """Of the result file."""
        label = self.label.replace(" Å", "").replace(" %", "").replace(", ", "_").replace(" ", "-")
        frames = f"_{self.frames}frames" if self.frames else ""
        return f"{self.set}_{label}_{self.budget.replace(' ', '')}{frames}_seed{self.seed}"

    @property
    def title(self) -> str:
        """For people."""
        frames = f", {self.frames} frames" if self.frames else ""
        return f"{self.set}, {self.label}{frames}, seed {self.seed}"

    def plan(self, files: dict[str, list[str]], symbols: list[str], state: Path) -> dict[str, Any]:
        """A plan.FitPlan in plain values.

        files  paths by "train", "valid" and "held_out"
        """
        model = self.subject.partition(" ")[2]
        charged = self.engine == "cace_qeq" and bool(set(self.subject.split()) & CHARGED)
        job = {"model": model, "dtype": "float32", "cutoff": self.cutoff, "symbols": symbols, "work": "fit"}
        return {
            "job": {**job, "frames": str(state.parent)},
            **files,
            "seconds": self.seconds,
            "epochs": self.epochs,
            "seed": self.seed,
            "batch": self.batch,
            "frames": self.frames,
            "optimizer": self.optimizer,
            "learning_rate": self.rate,
            "energy_weights": list(ENERGY_WEIGHTS),
            "energy_ramp": list(self.energy_ramp),
            "charge_weight": CHARGE_WEIGHT if charged else 0.0,
            "state": str(state),
        }

    def values(self) -> dict[str, Any]:
        return {**asdict(self), "learning_rate": self.rate, "energy_weights": ENERGY_WEIGHTS}


def refuse_other_sizes(subject: str) -> None:
    """Raise ValueError unless a size of our own follows the code, with an energy and "compiled" behind it if any."""
    size, *more = subject.split(" ")[1:] or [""]
    energies = [word for word in more if word != "compiled"]
    if (
        size not in {"equivalent", *PRESETS}
        or len(energies) > 1
        or not set(energies) <= {"none", *CHARGED}
        or "compiled" in more[:-1]
    ):
        raise ValueError(
            f"model {subject!r}: expected cace_qeq and one of {', '.join(PRESETS)} or equivalent, and behind it "
            f'nothing or one of {", ".join(sorted(CHARGED))} and none, e.g. "cace_qeq S equilibrated".'
        )


@dataclass(frozen=True)
class Finished:
    """A run with its result: errors, history, times, memory and size.

    held_out  which frames the errors are of: "test", or "valid" where these chose the best weights too
    """

    run: Run
    result: dict[str, Any]
    held_out: str = "test"

    @property
    def errors(self) -> dict[str, float]:
        return dict(self.result["errors"])


def finished(folder: Path) -> Iterator[Finished]:
    """All results of a folder, in the order of their names.

    raises  ValueError for a file that is no result
    """
    fields = Run.__dataclass_fields__
    for path in sorted(folder.glob("*.json")):
        try:
            content = json.loads(path.read_text())
            told = {**content["run"], "energy_ramp": tuple(content["run"]["energy_ramp"])}
            run = Run(**{key: value for key, value in told.items() if key in fields})
            result = content["result"]
            if missing := RESULT - set(result):
                raise KeyError(*sorted(missing))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is no result of a comparison ({error!r}); move it elsewhere.") from None
        yield Finished(run, result, content.get("held_out", "test"))
