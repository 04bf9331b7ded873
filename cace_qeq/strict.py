"""Settings that refuse what they do not know. pydantic validates them: types, ranges and readable errors for free."""

import difflib
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator


class Settings(BaseModel):
    """A frozen group of settings; an unknown key is an error that suggests the nearest right one."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, values: Any) -> Any:
        if isinstance(values, dict):
            refuse_unknown_keys(values, cls.model_fields)
        return values

    def is_changed(self, name: str) -> bool:
        """Whether a setting is another than the default."""
        return bool(getattr(self, name) != type(self).model_fields[name].default)


ELSEWHERE = {
    "r_max": "cutoff",
    "max_ell": "l_max",
    "max_L": "message_rank",
    "num_interactions": "layers",
    "num_layers": "layers",
    "num_channels": "channels",
    "num_features": "channels",
    "hidden_irreps": "channels",
    "num_radial_basis": "n_radial",
    "num_bessels": "n_radial",
    "correlation": "body_order",
    "elements": "species",
    "chemical_symbols": "species",
    "type_names": "species",
    "lr": "learning_rate",
    "batch_size": "batch_atoms",
    "E0s": "reference_energies",
    "max_epochs": "epochs",
    "max_num_epochs": "epochs",
    "default_dtype": "dtype",
    "eval_interval": "validate_every",
    "train_file": "train",
    "valid_file": "valid",
    "test_file": "test",
}
"""What other programs of this field call our settings."""


def refuse_unknown_keys(keys: Iterable[str], known: Iterable[str]) -> None:
    """Raise ValueError for the first key that is not known, with the nearest known one."""
    known = list(known)
    for key in keys:
        if key not in known:
            same = [ELSEWHERE[key]] if ELSEWHERE.get(key) in known else []
            near = same or difflib.get_close_matches(str(key), known, n=1, cutoff=0.65)
            advice = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
            raise ValueError(f"unknown key {key!r}; {advice}")


def readable(error: ValidationError, source: str) -> str:
    """One line per wrong setting: where it stands, what was expected, what came."""
    return "\n".join(_line(found, source) for found in error.errors())


def _line(found: Any, source: str) -> str:
    place = ".".join(str(part) for part in found["loc"] if "[" not in str(part))  # which are types, not keys
    message = found["msg"].removeprefix("Value error, ")
    given = "" if found["type"] in ("value_error", "missing") else f" (got {found['input']!r})"
    return f"{source}: {place + ': ' if place else ''}{message}{given}"
