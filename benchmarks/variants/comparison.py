"""Every variant of a configuration trained with every seed."""

import json
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

from cace_qeq.training import load_config
from cace_qeq.training.prepare import model_config_of
from record import RESULTS, write_result
from variants.changes import Change, changed, epochs_times, seeded
from variants.outcomes import table, trained

Rows = dict[str, list[dict[str, Any]]]


def compare(title: str, config: Path, variants: Mapping[str, Change], seeds: str, epochs: float) -> None:
    """Train each in a folder of its own, seeds outermost; results/TITLE_CONFIG.json and .md are written after each.

    seeds   with commas between
    epochs  of all stages, as a multiple of those configured

    raises  ValueError, before anything is trained, for a variant that is no model and results of other epochs
    """
    base, result = load_config(config), f"{title}_{config.stem}"
    rows = earlier(RESULTS / f"{result}.json", epochs)
    settings = {
        (seed, name): changed(base, f"{name}_x{epochs:g}_seed{seed}", change, epochs_times(epochs), seeded(seed))
        for seed, (name, change) in product(map(int, seeds.split(",")), variants.items())
    }
    for one in settings.values():
        model_config_of(one.model, (1,))
    for (seed, name), one in settings.items():
        others = [row for row in rows.get(name, ()) if row["seed"] != seed]
        rows[name] = [*others, {"seed": seed, **trained(one)}]
        write_result(result, {"config": config.name, "epochs": epochs, "variants": rows})
        (RESULTS / f"{result}.md").write_text(table("variant", rows))
    print(table("variant", rows))


def earlier(path: Path, epochs: float) -> Rows:
    """What has been found before, to which is added.

    raises  ValueError for results of other epochs
    """
    if not path.exists():
        return {}
    content = json.loads(path.read_text())
    if content["epochs"] != epochs:
        raise ValueError(f"{path} has results of --epochs {content['epochs']:g}, not {epochs:g}; move it elsewhere.")
    rows: Rows = content["variants"]
    return rows
