"""Every variant of a configuration trained with every seed."""

from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

from cace_qeq.training import load_config
from record import RESULTS, write_result
from variants.changes import Change, changed, epochs_times, seeded
from variants.outcomes import table, trained


def compare(title: str, config: Path, variants: Mapping[str, Change], seeds: str, epochs: float) -> None:
    """Train each in a folder of its own, seeds outermost; results/TITLE_CONFIG.json and .md are written after each.

    seeds   with commas between
    epochs  of all stages, as a multiple of those configured
    """
    base, rows = load_config(config), dict[str, list[dict[str, Any]]]()
    for seed, (name, change) in product(map(int, seeds.split(",")), variants.items()):
        settings = changed(base, f"{name}_x{epochs:g}_seed{seed}", change, epochs_times(epochs), seeded(seed))
        rows.setdefault(name, []).append({"seed": seed, **trained(settings)})
        write_result(f"{title}_{config.stem}", {"config": config.name, "epochs": epochs, "variants": rows})
        (RESULTS / f"{title}_{config.stem}.md").write_text(table("variant", rows))
    print(table("variant", rows))
