"""What an optimiser is worth: one configuration trained with each, at several learning rates.

    python benchmarks/optimizers.py benchmarks/configs/acac_S.yaml --epochs 0.067 --rates 0.003,0.006

trains every variant as `cace-qeq train` would, in a folder of its own beside that of the configuration (started again,
it goes on where it was), and writes results/optimizers_NAME.json and a table in Markdown after every one.
"""

from itertools import product
from pathlib import Path
from typing import Annotated

import typer

from record import script
from variants.changes import Change, training
from variants.comparison import compare

Config = Annotated[Path, typer.Argument(help="As for cace-qeq train, with fixed validation or test files.")]
Names = Annotated[str, typer.Option(help="Commas between.")]
Rates = Annotated[str, typer.Option(help="Learning rates; commas between.")]
Seeds = Annotated[str, typer.Option(help="Of every variant.")]
Epochs = Annotated[float, typer.Option(help="Epochs of all stages, as a multiple of those configured.")]


def main(
    config: Config,
    optimizers: Names = "adamw,soap",
    rates: Rates = "0.003,0.006,0.012",
    seeds: Seeds = "0",
    epochs: Epochs = 1.0,
) -> None:
    """Train and compare."""
    pairs = product(optimizers.split(","), map(float, rates.split(",")))
    compare("optimizers", config, dict(variant(*pair) for pair in pairs), seeds, epochs)


def variant(optimizer: str, rate: float) -> tuple[str, Change]:
    return f"{optimizer}, {rate:g}", training(optimizer=optimizer, learning_rate=rate)


if __name__ == "__main__":
    script(main)
