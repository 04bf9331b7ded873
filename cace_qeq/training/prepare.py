"""Everything that a run needs before its first step: data, model, baseline, and the checks on them."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import ValidationError

from cace_qeq.checkpoint import load_model
from cace_qeq.config import ModelConfig
from cace_qeq.model import CACEQEq
from cace_qeq.strict import readable
from cace_qeq.structures import LabelKeys, refuse_absent, told_of_predictions
from cace_qeq.training.baseline import energies_of_atoms, force_scale, isolated_energies, refit_reference_energies
from cace_qeq.training.config import TrainConfig, TrainingConfig
from cace_qeq.training.data import Example, examples_of, filled_batches, joined, read_split, species_of
from cace_qeq.training.doubts import lonely, repeated, shifted, unvalidated
from cace_qeq.training.element_charges import fit_element_charges
from cace_qeq.training.labelled import (
    LabelRow,
    check_born_charges,
    check_expansions,
    check_weights,
    default_charge_of,
    label_rows,
    undetermined,
    unused,
)
from cace_qeq.training.provenance import inherited_provenance, provenance_of
from cace_qeq.training.recorded import refuse_more_than_a_network
from cace_qeq.training.transfer import grown_config, inherit

CALIBRATION_ATOMS = 1000  # enough for stable means of features; more only costs time
COMPILING = "training.compile: the first step of each size of a batch takes minutes on a processor."


@dataclass(frozen=True)
class Summary:
    """What is told before training starts."""

    rows: tuple[LabelRow, ...]
    frames: dict[str, int]
    atoms: dict[str, int]
    species: tuple[int, ...]
    total_charges: tuple[float, ...]
    n_parameters: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Prepared:
    """A run that can start.

    valid, test  batches in file order
    scale        eV/Å  root mean square force of the training frames
    """

    model: CACEQEq
    train: tuple[Example, ...]
    valid: tuple[Example, ...]
    test: tuple[Example, ...]
    scale: float
    summary: Summary


Watch = Callable[[int], AbstractContextManager[Callable[[], None]]]
"""number of frames -> what is entered while they are prepared, and called after each"""


def unseen(n_frames: int) -> AbstractContextManager[Callable[[], None]]:
    return nullcontext(lambda: None)


def prepare(config: TrainConfig, watch: Watch = unseen) -> Prepared:
    """Read, check and build.

    watch  e.g. shows a progress bar, where frames are many

    raises  ValueError naming file, frame and key for data or settings that cannot be trained on
    """
    origin, keys = origin_of(config.training), LabelKeys(**config.data.keys.model_dump())
    split = read_split(config.data, () if origin is None else origin.config.species)
    refuse_absent(keys, [frame.atoms for frame in split.everything], "data.keys")
    model = initial_model(config, species_of(split.train), origin)
    default_charge, notes = default_charge_of(split, keys, config.data, model.config)
    if config.training.compile:
        refuse_more_than_a_network(model.config)
        notes = (*notes, COMPILING)
    with watch(len(split.everything)) as on_frame:
        parts = split.train, split.valid, split.test
        sets = [examples_of(frames, model.geometry, keys, default_charge, on_frame) for frames in parts]
    train, valid, test = sets
    rows = label_rows(split, (train, valid), keys, config.training.all_stages)
    hint = told_of_predictions([frame.atoms for frame in split.everything], "data.keys")
    check_weights(rows, config.training.all_stages, model.config, hint)
    notes = (*notes, *filter(None, [hint]))
    check_born_charges(split.train + split.valid, train + valid, config.training.all_stages, model.config)
    doubts = *unvalidated(rows), *repeated(split, keys), *lonely(train, model.config.cutoff)
    notes = (*notes, *unused(rows, model.config), *doubts)
    check_expansions(rows, config.training.consistency)
    if origin is None:
        notes = (*notes, *undetermined(train, config.training, model.config.species))
    scale = force_scale(train)
    model.provenance = provenance_of(config, sets)
    stated = tuple(model.provenance["total_charges"])
    if origin is None:
        set_baseline(model, train, config, scale)
    else:
        extend_baseline(model, train, config, origin.config.species)
        model.provenance = inherited_provenance(model.provenance, origin)
        notes = (beginning(config.training, origin, model), *notes)
    notes = (*notes, *shifted(model, {"training": train, "validation": valid, "test": test}))
    batches = [tuple(joined(b) for b in filled_batches(s, config.training.batch_atoms, None)) for s in sets[1:]]
    return Prepared(model, train, batches[0], batches[1], scale, summary_of(model, rows, sets, stated, notes))


def beginning(config: TrainingConfig, origin: CACEQEq, model: CACEQEq) -> str:
    """A note on the model that training starts from."""
    new = [number for number in model.config.species if number not in origin.config.species]
    elements = f"new elements: {', '.join(map(str, new))}" if new else "no new element"
    seen = ", ".join(f"{charge:+g}" for charge in origin.provenance.get("total_charges", ())) or "none"
    return f"Training starts from {config.start_from}; {elements}; total charges that it has seen: {seen} e."


def model_config_of(settings: dict[str, Any], species: tuple[int, ...]) -> ModelConfig:
    """The model section as a ModelConfig; the elements are those of the data unless it names them."""
    fields = {"species": species, **settings}
    preset = fields.pop("preset", None)
    try:
        config = ModelConfig(**fields) if preset is None else ModelConfig.preset(preset, **fields)
    except ValidationError as error:
        raise ValueError(readable(error, "model")) from None
    if missing := set(species) - set(config.species):
        raise ValueError(
            f"model.species {list(config.species)} lacks {sorted(missing)}, which the training frames have."
        )
    return config


def origin_of(config: TrainingConfig) -> CACEQEq | None:
    """The model that training starts from, if any."""
    return None if config.start_from is None else load_model(config.start_from, dtype=getattr(torch, config.dtype))


def initial_model(config: TrainConfig, species: tuple[int, ...], origin: CACEQEq | None) -> CACEQEq:
    """Random parameters that only the seed decides, but those of the origin where there is one.

    The global generator is left as it was.
    """
    if origin is None:
        settings = model_config_of(config.model, species)
    else:
        settings = grown_config(origin.config, config.model, species)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(config.training.seed)
        model = CACEQEq(settings).to(getattr(torch, config.training.dtype))
    if origin is not None:
        inherit(model, origin)
    return model


def set_baseline(model: CACEQEq, train: Sequence[Example], config: TrainConfig, scale: float) -> None:
    """Feature statistics, charges and energies of the elements.

    scale  eV/Å  root mean square force
    """
    sample = calibration_sample(train, config)
    model.calibrate(joined(sample).batch)
    if any(stage.weights.charges for stage in config.training.all_stages):
        fit_element_charges(model, sample)
    model.set_energy_scale(scale)
    set_reference_energies(model, train, config)


def extend_baseline(model: CACEQEq, train: Sequence[Example], config: TrainConfig, known: Sequence[int]) -> None:
    """The same of new elements alone; where least squares are asked for, they move all reference energies then."""
    if any(stage.weights.charges for stage in config.training.all_stages):
        fit_element_charges(model, calibration_sample(train, config), known)
    refit_reference_energies(model, train, known)  # first, or the large energies of new atoms would spread over all
    set_reference_energies(model, train, config)


def calibration_sample(train: Sequence[Example], config: TrainConfig) -> list[Example]:
    generator = torch.Generator().manual_seed(config.training.seed)
    return next(filled_batches(train, CALIBRATION_ATOMS, generator))


def set_reference_energies(model: CACEQEq, train: Sequence[Example], config: TrainConfig) -> None:
    given = config.training.reference_energies
    if given == "least_squares":
        refit_reference_energies(model, train)
    elif given == "isolated_atoms":
        model.set_reference_energies(energies_of_atoms(train, model.config.species))
    elif isinstance(given, dict):
        model.set_reference_energies(isolated_energies(given, model.config.species))


def summary_of(
    model: CACEQEq,
    rows: tuple[LabelRow, ...],
    sets: Sequence[Sequence[Example]],
    total_charges: tuple[float, ...],
    notes: tuple[str, ...],
) -> Summary:
    names = ("train", "valid", "test")
    return Summary(
        rows=rows,
        frames={name: len(examples) for name, examples in zip(names, sets, strict=True)},
        atoms={name: sum(e.batch.n_atoms for e in examples) for name, examples in zip(names, sets, strict=True)},
        species=model.config.species,
        total_charges=total_charges,
        n_parameters=sum(parameter.numel() for parameter in model.parameters()),
        notes=notes,
    )
