"""Results of the comparison as a table: means over seeds, with their spread."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import mean, stdev

from cace_qeq.benchmark.runs import Finished

HEAD = (
    "set", "frames", "model", "parameters", "energy (meV)", "energy (meV/atom)", "forces (meV/Å)", "charges (me)",
    "stress (meV/Å³)", "dipole (me Å)", "energy MAE (meV)", "forces MAE (meV/Å)", "budget", "training (CPU s)",
    "steps", "inference (µs/atom)", "peak memory (MB)", "seeds",
)  # fmt: skip
ERRORS = (
    "total_energy_rmse_mev",
    "energy_rmse_mev_per_atom",
    "forces_rmse_mev_per_angstrom",
    "charges_rmse_me",
    "stress_rmse_mev_per_cubic_angstrom",
    "dipole_rmse_me_angstrom",
    "total_energy_mae_mev",
    "forces_mae_mev_per_angstrom",
)

UNKNOWN = "–"

Group = tuple[str, int, str, str]


def grouped(results: Iterable[Finished]) -> dict[Group, list[Finished]]:
    """Runs that differ by the seed alone, one of each: set, training frames, budget, label of the model."""
    groups: dict[Group, dict[int, Finished]] = defaultdict(dict)
    for found in results:
        key = (found.run.set, found.result["frames"], found.run.budget, found.run.label)
        groups[key].setdefault(found.run.seed, found)
    return {key: list(groups[key].values()) for key in sorted(groups)}


def table(results: Iterable[Finished]) -> list[list[str]]:
    """Cells under HEAD, one row for each group of seeds; errors, root mean squares unless MAE, on held-out frames."""
    return [row(key, members) for key, members in grouped(results).items()]


def markdown(results: Iterable[Finished]) -> str:
    """The same as a file."""
    lines = [HEAD, ["---"] * len(HEAD), *table(results)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def row(key: Group, members: Sequence[Finished]) -> list[str]:
    name, frames, budget, subject = key
    first = members[0].result
    name += "" if members[0].held_out == "test" else " (validation)"
    errors = [spread([found.errors[error] for found in members if error in found.errors]) for error in ERRORS]
    steps = mean(found.result["steps"] for found in members)
    inference = spread([1e6 * found.result["seconds_per_atom"] for found in members])
    training = mean(found.result["training_seconds"] for found in members)
    memory = max(found.result["peak_memory_mb"] for found in members)
    return [
        name, str(frames), subject, str(first["parameters"]), *errors, budget, f"{training:.0f}",
        f"{steps:.0f}", inference, f"{memory:.0f}", str(len(members)),
    ]  # fmt: skip


def spread(values: Sequence[float]) -> str:
    """Mean ± standard deviation."""
    if not values:
        return UNKNOWN
    return f"{mean(values):.3g}" + (f" ± {stdev(values):.2g}" if len(values) > 1 else "")
