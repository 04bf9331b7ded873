"""Every variant of a configuration trained with every seed."""

import json
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

from cace_qeq.training import TrainConfig, load_config
from cace_qeq.training.prepare import model_config_of
from record import RESULTS, write_result, write_table
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
    conditions = {"config": config.name, "settings": settings_of(base), "epochs": epochs}
    rows = earlier(result, conditions, "variants")
    settings = {
        (seed, name): changed(base, f"{name}_x{epochs:g}_seed{seed}", change, epochs_times(epochs), seeded(seed))
        for seed, (name, change) in product(map(int, seeds.split(",")), variants.items())
    }
    for one in settings.values():
        model_config_of(one.model, (1,))
    known: dict[str, dict[str, Any]] = {}  # by settings: a variant may be what is configured
    for (seed, name), one in settings.items():
        same = json.dumps(settings_of(one))
        if same not in known:
            known[same] = trained(one)
        add(rows, name, {"seed": seed, **known[same]})
        write_result(result, {**conditions, "variants": rows})
        write_table(result, table("variant", rows))
    print(table("variant", rows))


def settings_of(config: TrainConfig) -> dict[str, Any]:
    """What a configuration says, but for the folder it is trained in."""
    return config.model_dump(mode="json", exclude={"training": {"output"}})


def earlier(result: str, conditions: Mapping[str, Any], key: str) -> dict[str, Any]:
    """What results/RESULT.json has under a key, to which is added.

    raises  ValueError for results of other conditions, or of unknown ones
    """
    path = RESULTS / f"{result}.json"
    if not path.exists():
        return {}
    content = json.loads(path.read_text())
    for name, value in conditions.items():
        if name not in content:
            raise ValueError(f"{path} does not say of which {name} its results are; move it elsewhere.")
        if content[name] != value:
            raise ValueError(f"{path} has results of other {name} than asked for; move it elsewhere.")
    rows: dict[str, Any] = content[key]
    return rows


def add(rows: Rows, name: str, row: dict[str, Any]) -> None:
    """A row among those of its name, in the place of one with the same seed."""
    rows[name] = [*(other for other in rows.get(name, ()) if other["seed"] != row["seed"]), row]
