"""Born effective charges of barium titanate, and the dielectric constant that goes with them.

    python benchmarks/born_charges.py

trains benchmarks/configs/batio3.yaml on 42 frames with Born charges of the reference, and compares those of the
validation frames, each of the nine components of every atom. Writes results/born_charges.json and
docs/figures/born_charges.png; runs/ keeps the training's state.

The set seems to have the field first and the displacement second in each row of nine, as VASP does: what an oxygen's
charge changes by when titanium moves, and the other way round, is one derivative of the polarization, and over the
frames those two agree better in that order. So the frames are written anew, with the displacement first.
"""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console

from cace_qeq import CACEQEq, load_model, predict_response
from cace_qeq.plots import save
from cace_qeq.structures import LabelKeys, read_frames, to_batch
from cace_qeq.training import load_config, read_labelled
from cace_qeq.units import COULOMB
from record import script, write_result, write_structures
from variants.outcomes import held_out, trained

CONFIG = Path(__file__).parent / "configs" / "batio3.yaml"
SOURCE = Path(__file__).parent.parent.parent / "shared" / "data" / "batio3_bec"
FRAMES = Path("runs/batio3_frames")
FIGURE = Path(__file__).parent.parent / "docs" / "figures" / "born_charges.png"
ELEMENTS = ("Ba", "Ti", "O")

Charges = dict[str, NDArray[np.float64]]  # by element, (atom, 3, 3)  e


def main() -> None:
    """Train, predict, and write one result and a figure."""
    write_frames()
    config = load_config(CONFIG)
    result = {"training": trained(config)}
    model = load_model(config.training.output / "model.safetensors")
    reference, predicted, dielectric = responses(model, held_out(config))
    result["elements"] = {symbol: compared(reference[symbol], predicted[symbol]) for symbol in ELEMENTS}
    result["dielectric_constant"] = np.mean(dielectric, axis=0).tolist()
    draw(reference, predicted)
    Console().print(f"{write_result('born_charges', result)}, {FIGURE}")


def write_frames() -> None:
    """Transposed where the configuration looks for them."""
    for name in ("train", "val"):
        frames = read_frames(SOURCE / f"{name}.extxyz")
        for atoms in frames:
            field_first = atoms.arrays.pop("REF_bec").reshape(-1, 3, 3)
            atoms.arrays["REF_born_charges"] = field_first.transpose(0, 2, 1).reshape(-1, 9)
        write_structures(FRAMES / f"{name}.extxyz", frames)


def responses(model: CACEQEq, paths: tuple[Path, ...]) -> tuple[Charges, Charges, list[NDArray[np.float64]]]:
    """Born charges of the reference and of the model, and ε∞ (3, 3) of every frame."""
    reference: dict[str, list[Any]] = {symbol: [] for symbol in ELEMENTS}
    predicted: dict[str, list[Any]] = {symbol: [] for symbol in ELEMENTS}
    dielectric = []
    for frame in read_labelled(paths, LabelKeys()):
        response = predict_response(model, to_batch(frame.atoms, model.geometry, 0.0))
        for symbol in ELEMENTS:
            chosen = frame.atoms.symbols == symbol
            reference[symbol].append(frame.labels.born_charges.numpy()[chosen])
            predicted[symbol].append(response.born_charges.numpy()[chosen])
        per_volume = 4 * np.pi * COULOMB / frame.atoms.get_volume()
        dielectric.append(np.eye(3) + per_volume * response.polarizability[0].numpy())
    joined = [{symbol: np.concatenate(parts) for symbol, parts in one.items()} for one in (reference, predicted)]
    return joined[0], joined[1], dielectric


def compared(reference: NDArray[np.float64], predicted: NDArray[np.float64]) -> dict[str, Any]:
    error = predicted - reference
    return {
        "mean_diagonal_reference_e": np.mean(np.diagonal(reference, axis1=1, axis2=2), axis=0).tolist(),
        "mean_diagonal_model_e": np.mean(np.diagonal(predicted, axis1=1, axis2=2), axis=0).tolist(),
        "rmse_e": float(np.sqrt(np.mean(error**2))),
        "spread_of_the_reference_e": float(np.sqrt(np.mean((reference - reference.mean(0)) ** 2))),
    }


def draw(reference: Charges, predicted: Charges) -> None:
    figure = Figure(figsize=(4.4, 4.2), layout="constrained")
    axes = figure.subplots()
    for symbol in ELEMENTS:
        axes.plot(reference[symbol].ravel(), predicted[symbol].ravel(), ".", markersize=2, label=symbol)
    low, high = axes.get_xlim()
    axes.plot([low, high], [low, high], color="0.6", linewidth=0.8, zorder=0)
    axes.set(xlabel="reference Z* (e)", ylabel="model Z* (e)", aspect="equal")
    axes.legend(frameon=False, markerscale=5)
    save(figure, FIGURE)


if __name__ == "__main__":
    script(main)
