"""The training configuration: YAML sections `data`, `model` and `training`, validated strictly."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from cace_qeq.config import ModelConfig
from cace_qeq.strict import Settings, readable, refuse_unknown_keys

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str | Path) else value


def _as_text(table: Any) -> Any:
    """Keys that YAML reads as numbers."""
    return {str(key): value for key, value in table.items()} if isinstance(table, dict) else table


Paths = Annotated[tuple[Path, ...], BeforeValidator(_as_list)]


class Keys(Settings):
    """Names under which the frames keep their labels; None looks in the usual places."""

    energy: str | None = None
    forces: str | None = None
    stress: str | None = None
    charges: str | None = None
    dipole: str | None = None
    born_charges: str | None = None
    total_charge: str | None = None


class DataConfig(Settings):
    """Where the frames are.

    train, test           one path or a list
    valid                 the same, or the fraction of the training frames to set aside
    split_seed            decides which frames that fraction takes
    default_total_charge  e, for frames that state none; None: an error if only some frames state it
    config_type_weights   of training and validation frames by their config_type, "Default" without one; 1 if not named
    """

    train: Paths = Field(min_length=1)
    valid: float | tuple[Path, ...] = 0.1
    test: Paths = ()
    split_seed: int = 0
    keys: Keys = Field(default_factory=Keys)
    default_total_charge: Annotated[float, Field(allow_inf_nan=False)] | None = None
    config_type_weights: Annotated[dict[str, Weight], BeforeValidator(_as_text)] = Field(default_factory=dict)

    @field_validator("valid", mode="before")
    @classmethod
    def _paths_or_fraction(cls, value: Any) -> Any:
        if isinstance(value, float | str):
            with suppress(ValueError):
                if 0 < float(value) < 1:  # YAML reads 1e-1 as text
                    return float(value)
        value = _as_list(value)
        if isinstance(value, list | tuple) and value and all(isinstance(path, str | Path) for path in value):
            return value
        raise ValueError(f"expected a path, a list of paths, or a fraction between 0 and 1, got {value!r}")


class Weights(Settings):
    """Weight of each property in the loss; its terms are defined in `loss`."""

    energy: Weight = 0.0
    forces: Weight = 0.0
    stress: Weight = 0.0
    charges: Weight = 0.0
    dipole: Weight = 0.0
    born_charges: Weight = 0.0

    @model_validator(mode="after")
    def _some_weight(self) -> "Weights":
        if not any(self.model_dump().values()):
            raise ValueError("all weights are zero; give at least one property a weight, e.g. forces: 1")
        return self


class Consistency(Settings):
    """Loss terms at randomly displaced positions; their equations are those of docs/consistency.

    taylor        weight of energies against expansions about positions of the training set
    about         what is expanded there: labels (the model's forces where none are labelled), or the model's prediction
    spatial       weight of two ways to a third position against each other
    displacement  Å, standard deviation of each component
    order         of the expansions
    """

    taylor: Weight = 0.0
    about: Literal["labels", "prediction"] = "labels"
    spatial: Weight = 0.0
    displacement: Positive = 0.01
    order: Literal[1, 2] = 1

    @model_validator(mode="after")
    def _some_weight(self) -> "Consistency":
        if not self.taylor and not self.spatial:
            raise ValueError("both weights are zero; give taylor or spatial a weight, or leave consistency out")
        return self


DEFAULT_WEIGHTS = Weights(energy=10.0, forces=1.0)


class Stage(Settings):
    """Some epochs with weights of their own, e.g. charges first, or a raised energy weight at the end.

    learning_rate  replaces that of the training section, if given
    """

    name: str
    epochs: int = Field(gt=0)
    weights: Weights
    learning_rate: Positive | None = None


OPTIONS = {
    "huber_delta": ("loss", "huber"),
    "plateau_factor": ("schedule", "plateau"),
    "plateau_patience": ("schedule", "plateau"),
    "final_learning_rate": ("schedule", "cosine"),
}
"""Settings with the choice that they belong to."""


class TrainingConfig(Settings):
    """How to train.

    output                   folder of the run
    dtype                    of the network; geometry, sums and electrostatics stay in float64
    compile                  steps are recorded and run again: as C++ on a processor, which takes minutes to make
                             and then less time for small molecules, as CUDA graphs on a GPU; for energy: none
    processes                data-parallel; they share each batch, so that gradients do not depend on them
    batch_atoms              atoms per optimiser step, of all processes together
    optimizer                soap: Adam along axes that are learned from the gradients; adamw: along the parameters
    loss                     squared, or huber: linear beyond huber_delta (in the units of the loss)
    consistency              weakly supervised terms, in all stages
    stages                   one after the other; without any, one stage of `epochs` with `weights`
    ema_decay                of the averaged weights, which are validated and saved
    gradient_clip            largest norm of the gradient
    schedule                 of the learning rate, over all stages; warmup_epochs come first in each schedule
    final_learning_rate      where cosine ends, as a fraction
    plateau_factor           times the learning rate after plateau_patience validations without a new best
    patience                 validations without a new best after which a stage ends
    max_minutes              no epoch is begun that would end later; the best model so far is kept
    reference_energies       least_squares; isolated_atoms: of frames of one neutral atom without neighbour, the lowest;
                             in eV by symbol or number; or keep: those of start_from, and least squares for new elements
    start_from               model file whose architecture and parameters are taken; new elements get new rows
    """

    output: Path
    seed: int = Field(0, ge=0, lt=2**32)
    dtype: Literal["float32", "float64"] = "float32"
    device: Literal["auto", "cpu", "cuda"] = "cpu"
    compile: bool = False
    processes: int = Field(1, gt=0)
    threads: int | None = Field(None, gt=0)
    epochs: int = Field(100, gt=0)
    batch_atoms: int = Field(250, gt=0)
    optimizer: Literal["soap", "adamw"] = "soap"
    learning_rate: Positive = 5e-3
    weight_decay: Weight = 0.0
    weights: Weights = DEFAULT_WEIGHTS
    loss: Literal["squared", "huber"] = "squared"
    huber_delta: Positive = 0.1
    consistency: Consistency | None = None
    stages: tuple[Stage, ...] = ()
    ema_decay: float = Field(0.99, ge=0, lt=1)
    gradient_clip: Positive = 10.0
    schedule: Literal["cosine", "plateau", "constant"] = "cosine"
    warmup_epochs: Weight = 1.0
    final_learning_rate: Weight = 0.01
    plateau_factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    plateau_patience: int = Field(20, gt=0)
    patience: int | None = Field(None, gt=0)
    validate_every: int = Field(1, gt=0)
    max_minutes: Positive | None = None
    reference_energies: Annotated[
        Literal["least_squares", "isolated_atoms", "keep"] | dict[str, float], BeforeValidator(_as_text)
    ] = "least_squares"
    start_from: Path | None = None

    @model_validator(mode="after")
    def _keep_what_there_is(self) -> "TrainingConfig":
        if self.reference_energies == "keep" and self.start_from is None:
            raise ValueError("reference_energies: keep needs a model to keep them from; give start_from")
        return self

    @model_validator(mode="after")
    def _stages_have_their_own(self) -> "TrainingConfig":
        for name in ("epochs", "weights") if self.stages else ():
            if self.is_changed(name):
                raise ValueError(f"{name} have no effect beside stages, which have their own; set them there")
        return self

    @model_validator(mode="after")
    def _options_of_what_is_chosen(self) -> "TrainingConfig":
        for name, (choice, needed) in OPTIONS.items():
            if getattr(self, choice) != needed and self.is_changed(name):
                raise ValueError(f"{name} has no effect with {choice}: {getattr(self, choice)}; it is for {needed}")
        return self

    @property
    def all_stages(self) -> tuple[Stage, ...]:
        """The stages, or the single one that `epochs` and `weights` describe."""
        return self.stages or (Stage(name="joint", epochs=self.epochs, weights=self.weights),)


class TrainConfig(Settings):
    """A whole configuration file.

    model  fields of ModelConfig, or `preset` and changes to it; with training.start_from it may be left out
    """

    data: DataConfig
    model: dict[str, Any] = Field(default_factory=dict)
    training: TrainingConfig

    @field_validator("model")
    @classmethod
    def _known_fields(cls, model: dict[str, Any]) -> dict[str, Any]:
        refuse_unknown_keys(model, ["preset", *ModelConfig.model_fields])
        return model


def load_config(path: Path, overrides: Iterable[str] = ()) -> TrainConfig:
    """Read a YAML file and change it by `section.key=value`; values are read as YAML.

    raises  ValueError naming the file, the key, and what was expected; FileNotFoundError
    """
    if not path.is_file():
        what = "a folder, expected a YAML file" if path.is_dir() else "no such file"
        raise FileNotFoundError(f"{path}: {what}; check the path (relative ones start at {Path.cwd()}).")
    try:
        values = _plain(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(values, dict):
        found = type(values).__name__
        raise ValueError(f"{path}: expected the sections data, model and training, found {found}")
    for override in overrides:
        _apply(values, override)
    return parse_config(values, str(path))


def parse_config(values: dict[str, Any], source: str = "config") -> TrainConfig:
    """The configuration in nested plain values; `source` stands in front of errors."""
    try:
        return TrainConfig.model_validate(values)
    except ValidationError as error:
        raise ValueError(readable(error, source)) from None


def dump_config(config: TrainConfig) -> str:
    """The YAML that gives the same configuration again, with every default written out."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


class UniqueKeys(yaml.SafeLoader):
    """Plain values from YAML, where no key stands twice: the last would silently win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise yaml.constructor.ConstructorError(None, None, f"the key {twice[0]!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _plain(text: str) -> Any:
    return yaml.load(text, UniqueKeys)  # a safe loader


def _apply(values: dict[str, Any], override: str) -> None:
    address, equals, text = override.partition("=")
    *sections, key = address.split(".")
    if not equals or not sections or not key:
        raise ValueError(f"override {override!r}: expected section.key=value, e.g. training.epochs=50")
    for section in sections:
        if values.get(section) is None:  # absent, or without anything after its colon
            values[section] = DEFAULT_WEIGHTS.model_dump() if section == "weights" else {}
        values = values[section]
        if not isinstance(values, dict):
            raise ValueError(f"override {override!r}: {section!r} is a value, not a section")
    try:
        values[key] = _plain(text)
    except yaml.YAMLError as error:
        raise ValueError(f"override {override!r}: not valid YAML: {error}") from None
