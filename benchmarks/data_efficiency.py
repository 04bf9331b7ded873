"""Errors against the number of training frames, with charge equilibration and without.

    python benchmarks/data_efficiency.py benchmarks/configs/ag3.yaml --percent 1,3,10,30,100 --seeds 1,2,3

trains as `cace-qeq train` would on nested subsets of the training frames, with as many more epochs as there are fewer
frames (tenfold at most), so that steps are about as many; writes results/data_efficiency_NAME.json, a table in
Markdown and a figure. Started again, it goes on where it was.
"""

from itertools import product
from pathlib import Path
from typing import Annotated

import typer

from cace_qeq.training import load_config
from record import RESULTS, script, write_result, write_table
from variants.changes import Change, changed, epochs_times, same, seeded, without_charges
from variants.comparison import add, earlier, settings_of
from variants.curves import draw
from variants.outcomes import table, trained
from variants.subsets import on_subset

KINDS: dict[str, Change] = {"with charges": same, "without": without_charges}
MOST_EPOCHS = 10.0

Config = Annotated[Path, typer.Argument(help="As for cace-qeq train, with fixed validation or test files.")]
Percent = Annotated[str, typer.Option(help="Of the training frames.")]
Seeds = Annotated[str, typer.Option(help="Of every training.")]
Epochs = Annotated[float, typer.Option(help="Epochs of all stages, as a multiple of those configured.")]


def main(config: Config, percent: Percent = "1,3,10,30,100", seeds: Seeds = "0", epochs: Epochs = 1.0) -> None:
    """Train and draw; the small subsets first."""
    base, name = load_config(config), f"data_efficiency_{config.stem}"
    conditions = {"config": config.name, "settings": settings_of(base), "epochs": epochs}
    rows = earlier(name, conditions, "results")
    for share, seed, kind in product(map(float, percent.split(",")), map(int, seeds.split(",")), KINDS):
        subset, n_frames = on_subset(base, share)
        longer = epochs_times(epochs * min(MOST_EPOCHS, 100 / share))
        folder = f"{kind}_{share:g}percent_x{epochs:g}_seed{seed}"
        settings = changed(base, folder, KINDS[kind], subset, longer, seeded(seed))
        result = {"frames": n_frames, "kind": kind, "seed": seed, **trained(settings)}
        add(rows, f"{n_frames} frames, {kind}", result)
        write_result(name, {**conditions, "results": rows})
        write_table(name, table("training set", rows))
    draw(rows, RESULTS / f"{name}.png")
    print(table("training set", rows))


if __name__ == "__main__":
    script(main)
