"""What consistency at displaced positions brings with few frames.

    python benchmarks/consistency.py --percent 22.2222 --seeds 1,2

trains the model of configs/consistency.yaml on a nested subset of its frames: without consistency terms, with each of
them for equally many epochs, and without them for about the time that the dearer ones take. Writes
results/consistency.json and a table in Markdown. Started again, it goes on where it was.
"""

from itertools import product
from pathlib import Path
from typing import Annotated, Any

import typer

from cace_qeq.training import load_config
from record import script, write_result, write_table
from variants.changes import Change, Values, changed, epochs_times, same, seeded
from variants.comparison import add, earlier, settings_of
from variants.outcomes import table, trained
from variants.subsets import on_subset

CONFIG = Path(__file__).parent / "configs" / "consistency.yaml"
WEIGHT = 10.0


def with_terms(**settings: Any) -> Change:
    """Consistency of these settings."""

    def change(values: Values) -> Values:
        return {**values, "training": {**values["training"], "consistency": settings}}

    return change


KINDS: dict[str, Change] = {
    "none": same,
    "taylor, order 1, 0.01 Å": with_terms(taylor=WEIGHT, displacement=0.01),
    "taylor, order 2, 0.03 Å": with_terms(taylor=WEIGHT, displacement=0.03, order=2),
    "spatial, order 1, 0.01 Å": with_terms(spatial=WEIGHT, displacement=0.01),
    "taylor about predictions, and spatial, 0.01 Å": with_terms(
        taylor=WEIGHT, about="prediction", spatial=0.01 * WEIGHT, displacement=0.01
    ),
    "none, 1.5 times the epochs": epochs_times(1.5),
}

Percent = Annotated[float, typer.Option(help="Of the training frames.")]
Seeds = Annotated[str, typer.Option(help="Of every training.")]


def main(percent: Percent = 22.2222, seeds: Seeds = "1,2") -> None:
    """Train and tell."""
    base = load_config(CONFIG)
    subset, n_frames = on_subset(base, percent)
    conditions = {"config": CONFIG.name, "settings": settings_of(base), "frames": n_frames, "weight": WEIGHT}
    rows = earlier("consistency", conditions, "results")
    for seed, kind in product(map(int, seeds.split(",")), KINDS):
        folder = f"{kind.replace(',', '')}_{n_frames}frames_seed{seed}"
        settings = changed(base, folder, subset, KINDS[kind], seeded(seed))
        add(rows, kind, {"seed": seed, **trained(settings)})
        write_result("consistency", {**conditions, "results": rows})
        write_table("consistency", table("consistency terms", rows))
    print(table("consistency terms", rows))


if __name__ == "__main__":
    script(main)
