"""Training a configuration, or going on with it, and its errors."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from cace_qeq import CACEQEq, Committee, load_model
from cace_qeq.benchmark.report import spread
from cace_qeq.cli.progress import RichReporter
from cace_qeq.structures import LabelKeys
from cace_qeq.training import TrainConfig, batches_for, evaluate, fit, read_labelled
from cace_qeq.training.data import Example

SHOWN = {
    "energy_rmse_mev_per_atom": "energy (meV/atom)",
    "forces_rmse_mev_per_angstrom": "forces (meV/Å)",
    "charges_rmse_me": "charges (me)",
}


def trained(config: TrainConfig) -> dict[str, Any]:
    """Errors on the test frames (validation frames where a set has no others), time and size, and the learning curve.

    Raises KeyboardInterrupt where the training was broken off: what is unfinished is no result.
    """
    folder = config.training.output
    outcome = fit(config, "resume" if folder.exists() else "new", RichReporter())
    if outcome.reason == "interrupted":
        raise KeyboardInterrupt
    model = load_model(outcome.folder.model)
    errors = evaluate(model, held_out_batches(config, model)).metrics
    validated = [record for record in outcome.history if "valid_loss" in record]
    return {
        **errors,
        "trained_at_commit": model.provenance["commit"],
        "set": "test" if config.data.test else "valid",
        "minutes": sum(record["seconds"] for record in outcome.history) / 60,
        "cpu_minutes": sum(record.get("cpu_seconds", math.nan) for record in outcome.history) / 60,
        "epochs": len(outcome.history),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "validation": {name: [record.get(name) for record in validated] for name in ("epoch", *SHOWN)},
    }


def held_out_batches(config: TrainConfig, model: CACEQEq | Committee) -> Iterator[Example]:
    """Those of `held_out`, ready for a model or a committee."""
    keys = LabelKeys(**config.data.keys.model_dump())
    return batches_for(model, read_labelled(held_out(config), keys), keys, None)


def held_out(config: TrainConfig) -> tuple[Path, ...]:
    """The test files, or the validation files of a set without."""
    found = config.data.test or config.data.valid
    assert isinstance(found, tuple), "a benchmark needs fixed validation frames"
    return found


def table(title: str, rows: Mapping[str, Sequence[dict[str, Any]]]) -> str:
    """Markdown: errors of every variant, means over seeds with their spread."""
    head = [title, *SHOWN.values(), "minutes", "parameters", "seeds"]
    lines = [head, ["---"] * len(head)]
    for name, results in rows.items():
        found = ([result[error] for result in results if result.get(error) is not None] for error in SHOWN)
        errors = [spread(values) for values in found]
        minutes = f"{mean(result['minutes'] for result in results):.1f}"
        lines.append([name, *errors, minutes, str(results[0]["parameters"]), str(len(results))])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
