"""What each choice of a charge model brings: one configuration, changed in one respect at a time.

    python benchmarks/ablations.py benchmarks/configs/carbon_chain.yaml --seeds 1,2,3 --epochs 0.5

trains every variant as `cace-qeq train` would, in a folder of its own beside that of the configuration (started again,
it goes on where it was), and writes results/ablations_NAME.json and a table in Markdown after every one. Charge labels
are left out together with the stages that train nothing else. Hardness is learned per element or, with `environment
hardness`, per atom, or that of the free atoms. The background counts in charged cells alone.
"""

from pathlib import Path
from typing import Annotated

import typer

from record import refuse_unknown, script
from variants.changes import Change, model, same, without_charge_labels, without_charges
from variants.comparison import compare

VARIANTS: dict[str, Change] = {
    "as configured": same,
    "no equilibration": without_charges,
    "no charge labels": without_charge_labels,
    "equilibrated": model(energy="equilibrated"),
    "coulomb": model(energy="coulomb"),
    "charges not fed back": model(charge_feedback="none"),
    "charges in the readout": model(charge_feedback="readout"),
    "charges in the embedding": model(charge_feedback="embedding"),
    "fixed widths": model(learn_widths=False),
    "learned widths": model(learn_widths=True),
    "fixed hardness": model(learn_hardness=False, environment_hardness=False),
    "element hardness": model(environment_hardness=False),
    "environment hardness": model(environment_hardness=True),
    "free charge flow": model(charge_flow="free"),
    "charge along bonds": model(charge_flow="bonds"),
    "point background": model(background="point"),
    "gaussian background": model(background="gaussian"),
    "cutoff 3": model(cutoff=3.0),
    "cutoff 4": model(cutoff=4.0),
    "cutoff 5": model(cutoff=5.0),
}

Config = Annotated[Path, typer.Argument(help="As for cace-qeq train, with fixed validation or test files.")]
Names = Annotated[str, typer.Option(help=f"Some of {', '.join(VARIANTS)}; commas between.")]
Seeds = Annotated[str, typer.Option(help="Of every variant.")]
Epochs = Annotated[float, typer.Option(help="Epochs of all stages, as a multiple of those configured.")]


def main(config: Config, variants: Names = ",".join(VARIANTS), seeds: Seeds = "0", epochs: Epochs = 1.0) -> None:  # noqa: B008
    """Train and compare."""
    names = variants.split(",")
    refuse_unknown(names, VARIANTS)
    compare("ablations", config, {name: VARIANTS[name] for name in names}, seeds, epochs)


if __name__ == "__main__":
    script(main)
