"""What every size of the equivariant model buys for its cost: preset S, changed in one respect at a time.

    python benchmarks/sizes.py benchmarks/configs/acac_S.yaml --epochs 0.053

trains every variant for the same number of epochs in a folder of its own (started again, it goes on where it was),
measures energies and forces of a batch of held-out frames beside the unchanged model, and writes
results/sizes_NAME.json and a table in Markdown: errors, cost, and how much of the error goes for twice the cost.
"""

import math
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import process_time
from typing import Annotated, Any

import torch
import typer

from cace_qeq import CACEQEq, load_model, predict
from cace_qeq.structures import AtomicBatch, collate, read_frames, to_batch
from cace_qeq.training import TrainConfig, load_config
from record import script, write_result, write_table
from variants.changes import Change, changed, epochs_times, model, same, seeded
from variants.comparison import earlier, settings_of
from variants.outcomes import trained

AS_CONFIGURED = "as configured"
VARIANTS: dict[str, Change] = {
    AS_CONFIGURED: same,
    "ν 2": model(body_order=2),
    "ν 4": model(body_order=4),
    "16 channels": model(channels=16, message_channels=16),
    "64 channels": model(channels=64, message_channels=64),
    "l_max 2": model(l_max=2),
    "l_max 4": model(l_max=4),
    "messages of rank 2": model(message_rank=2),
    "messages of rank 3": model(message_rank=3),
    "1 layer": model(layers=1),
    "3 layers": model(layers=3),
    "4 radial functions": model(n_radial=4),
    "12 radial functions": model(n_radial=12),
}
FRAMES, REPETITIONS = 16, 9
FORCES = "forces_rmse_mev_per_angstrom"

Config = Annotated[Path, typer.Argument(help="As for cace-qeq train, with fixed validation or test files.")]
Epochs = Annotated[float, typer.Option(help="Epochs of all stages, as a multiple of those configured.")]


def main(config: Config, epochs: Epochs = 1.0, seed: int = 0) -> None:
    """Train and time; the unchanged model first, and again beside every other."""
    torch.set_num_threads(1)
    base, file = load_config(config), f"sizes_{config.stem}"
    conditions = {"config": config.name, "settings": settings_of(base), "epochs": epochs, "seed": seed}
    rows: dict[str, Any] = earlier(file, conditions, "variants")
    unchanged = variant(base, AS_CONFIGURED, epochs, seed)
    for name in VARIANTS:
        settings = variant(base, name, epochs, seed)
        result = trained(settings)
        result["cost"] = cost(settings, unchanged)
        rows[name] = result | {"bought": None if name == AS_CONFIGURED else bought(result, rows[AS_CONFIGURED])}
        write_result(file, {**conditions, "variants": rows})
        write_table(file, table(rows))
    print(table(rows))


def variant(base: TrainConfig, name: str, epochs: float, seed: int) -> TrainConfig:
    return changed(base, f"{name}_x{epochs:g}_seed{seed}", VARIANTS[name], epochs_times(epochs), seeded(seed))


def cost(settings: TrainConfig, unchanged: TrainConfig) -> float:
    """CPU time of a call, as a multiple of the unchanged model's; both are called in turn."""
    calls = [call(settings), call(unchanged)]
    times = [[timed(function) for function in calls] for _ in range(REPETITIONS)]
    return median(ours / theirs for ours, theirs in times)


def call(settings: TrainConfig) -> Callable[[], object]:
    """Energies and forces of some held-out frames."""
    potential: CACEQEq = load_model(settings.training.output / "model.safetensors").requires_grad_(False)
    files = settings.data.test or settings.data.valid
    assert isinstance(files, tuple), "a benchmark needs fixed validation frames"
    batch: AtomicBatch = collate([to_batch(atoms, potential.geometry, 0.0) for atoms in read_frames(files[0])[:FRAMES]])
    return lambda: predict(potential, batch)


def timed(function: Callable[[], object]) -> float:
    start = process_time()
    function()
    return process_time() - start


def bought(result: dict[str, Any], unchanged: dict[str, Any]) -> float | None:
    """-d ln(error) / d ln(cost): 1 where twice the cost halves the error; None where the cost is the same."""
    if result["cost"] == 1.0:
        return None
    return -math.log(result[FORCES] / unchanged[FORCES]) / math.log(result["cost"])


def table(rows: dict[str, dict[str, Any]]) -> str:
    """Markdown."""
    head = ["variant", "energy (meV/atom)", "forces (meV/Å)", "cost", "-d ln(forces) / d ln(cost)", "parameters"]
    lines = [head, ["---"] * len(head)]
    for name, result in rows.items():
        worth = "–" if result["bought"] is None else f"{result['bought']:.2f}"
        errors = [f"{result[error]:.3g}" for error in ("energy_rmse_mev_per_atom", FORCES)]
        lines.append([name, *errors, f"{result['cost']:.2f}", worth, str(result["parameters"])])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    script(main)
