"""What keeps a model from learning its frames by heart: a configuration with other loss, weight decay, normalisation.

    python benchmarks/restraint.py benchmarks/configs/acac_S.yaml --percent 33.3333 --seeds 0

trains every variant as `cace-qeq train` would on a part of the training frames, tests it on the others, so that no test
frame has a say in what is chosen, and writes results/restraint_NAME.json and a table in Markdown after every one.
Started again, it goes on where it was.
"""

from pathlib import Path
from typing import Annotated

import typer

from cace_qeq.training import load_config
from record import script
from variants.changes import Change, Values, model, training
from variants.comparison import compare
from variants.subsets import rest_held_out

HUBER = training(loss="huber", huber_delta=0.03)
DECAY = training(weight_decay=0.01)
RMS = model(normalization="rms")
NONE = (training(loss="squared", huber_delta=0.1, weight_decay=0.0), model(normalization="none"))
VARIANTS: dict[str, tuple[Change, ...]] = {
    "none": NONE,
    "huber": (*NONE, HUBER),
    "weight decay": (*NONE, DECAY),
    "rms": (*NONE, RMS),
    "huber, weight decay": (*NONE, HUBER, DECAY),
    "huber, weight decay, rms": (*NONE, HUBER, DECAY, RMS),
}

Config = Annotated[Path, typer.Argument(help="As for cace-qeq train.")]
Percent = Annotated[float, typer.Option(help="Of the training frames, to train on.")]
Seeds = Annotated[str, typer.Option(help="Of every variant.")]
Epochs = Annotated[float, typer.Option(help="Epochs of all stages, as a multiple of those configured.")]


def main(config: Config, percent: Percent = 33.3333, seeds: Seeds = "0", epochs: Epochs = 1.0) -> None:
    """Train and compare."""
    part = rest_held_out(load_config(config), percent)
    variants = {name: in_turn(part, *changes) for name, changes in VARIANTS.items()}
    compare("restraint", config, variants, seeds, epochs)


def in_turn(*changes: Change) -> Change:
    """All of these."""

    def change(values: Values) -> Values:
        for one in changes:
            values = one(values)
        return values

    return change


if __name__ == "__main__":
    script(main)
