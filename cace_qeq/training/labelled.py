"""Which labels the frames have, and whether they suffice for what a run asks for."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from cace_qeq.conditions import SAME_CHARGE
from cace_qeq.config import ModelConfig
from cace_qeq.structures import PROPERTIES, AtomicBatch, LabelKeys, charge_by_conditions, label_sources, place
from cace_qeq.training.baseline import composition
from cace_qeq.training.config import Consistency, DataConfig, Stage, TrainingConfig
from cace_qeq.training.data import Example, Frame, Split
from cace_qeq.training.loss import count_labels
from cace_qeq.training.metrics import OF_CHARGES

COUNTS = {
    "stress": " (it counts in structures with pbc T T T)",
    "dipole": " (it counts in molecules, with pbc F F F)",
}


@dataclass(frozen=True)
class LabelRow:
    """What is known of one property before training.

    keys           which keys the training frames keep it under, and how many frames each
    train, valid   frames with a label
    values         labelled values in the training frames
    weight         in each stage
    """

    property: str
    keys: dict[str, int]
    train: int
    valid: int
    values: int
    weights: tuple[float, ...]


def default_charge_of(
    split: Split, keys: LabelKeys, config: DataConfig, model: ModelConfig
) -> tuple[float | None, tuple[str, ...]]:
    """Total charge of frames that state none, with a note about it; None if every frame must state it."""
    if model.energy == "none":
        return 0.0, ()
    if config.default_total_charge is not None:
        return config.default_total_charge, ()
    silent = [frame for frame in split.everything if not total_charge_known(frame, keys)]
    if len(silent) == len(split.everything):
        return 0.0, ("No frame states a total charge: all are taken as neutral.",)
    if silent:
        raise ValueError(
            f"{place(silent[0].atoms)}: no total charge, as in {len(silent)} of {len(split.everything)} "
            "frames, while others state one; state it (total_charge=<e> in its comment line or database), or set "
            "data.default_total_charge."
        )
    return None, ()


def label_rows(
    split: Split, sets: tuple[Sequence[Example], ...], keys: LabelKeys, stages: Sequence[Stage]
) -> tuple[LabelRow, ...]:
    """One row for each of PROPERTIES."""
    sources = [label_sources(frame.atoms, keys) for frame in split.train]
    train, valid = (torch.stack([count_labels(example.labels) for example in examples]) for examples in sets)
    return tuple(
        LabelRow(
            name,
            dict(Counter(key for key in (source[name] for source in sources) if key is not None)),
            int((train[:, index] > 0).sum()),
            int((valid[:, index] > 0).sum()),
            int(train[:, index].sum()),
            tuple(getattr(stage.weights, name) for stage in stages),
        )
        for index, name in enumerate(PROPERTIES)
    )


def check_weights(rows: Sequence[LabelRow], stages: Sequence[Stage], model: ModelConfig, hint: str = "") -> None:
    """Raise ValueError for a weight on something that is not labelled or not predicted.

    hint  why there may be no labels
    """
    for row in rows:
        if not any(row.weights):
            continue
        if not row.train:
            raise ValueError(
                f"weights.{row.property} is {max(row.weights)}, but no training frame has a label for it"
                f"{COUNTS.get(row.property, '')}; set the weight to 0 or name its key in data.keys.{row.property}."
                + f" {hint}".rstrip()
            )
        if model.energy == "none" and row.property in OF_CHARGES:
            raise ValueError(
                f"weights.{row.property} is {max(row.weights)}, but a model with energy: none has no "
                "charges; set the weight to 0 or choose energy: equilibrated."
            )
    for index, stage in enumerate(stages):
        if not any(row.weights[index] and row.valid for row in rows):
            raise ValueError(
                f"stage {stage.name!r}: no validation frame has a label of any weighted property; "
                "the best model could not be chosen. Add labels to data.valid."
            )


def check_born_charges(
    frames: Sequence[Frame], examples: Sequence[Example], stages: Sequence[Stage], model: ModelConfig
) -> None:
    """Raise ValueError for a weight on those of cells that have none."""
    if not any(stage.weights.born_charges for stage in stages):
        return
    for frame, example in zip(frames, examples, strict=True):
        labelled_cell = example.batch.pbc.any() and example.labels.born_charges.isfinite().any()
        if labelled_cell and model.charge_flow == "free":
            raise ValueError(
                "weights.born_charges: a periodic structure has Born charges where charge flows along bonds; train "
                "with charge_flow: bonds, or set the weight to 0."
            )
        if labelled_cell and not all_from_bonds(example.batch):
            raise ValueError(
                f"{place(frame.atoms)}: it has Born charges as labels, but a cell that is charged, or has charged "
                "fragments or electrodes, has none here; leave them out (data.keys: {born_charges: none}), or set "
                "their weight to 0."
            )


def all_from_bonds(batch: AtomicBatch) -> bool:
    """Whether no charge of it begins anywhere but on bonds."""
    imposed, given = batch.imposed, torch.cat([batch.total_charge, batch.imposed.fragment_charge])
    return bool(imposed.potential.isnan().all() and (given.abs() <= SAME_CHARGE).all())


def unused(rows: Sequence[LabelRow], model: ModelConfig) -> tuple[str, ...]:
    """A note on labels that a model could be trained on and is not; a dipole follows from charges."""
    predicted = ("energy", "forces", "stress", "charges") if model.energy != "none" else ("energy", "forces", "stress")
    names = [row.property for row in rows if row.train and row.property in predicted and not any(row.weights)]
    if not names:
        return ()
    return (f"{' and '.join(names)}: labelled, but without weight; to train on them too, add them to the weights.",)


def undetermined(train: Sequence[Example], config: TrainingConfig, species: Sequence[int]) -> tuple[str, ...]:
    """A note where energies are fitted to compositions that do not tell the elements apart."""
    fitted = config.reference_energies == "least_squares" and any(stage.weights.energy for stage in config.all_stages)
    rank = int(torch.linalg.matrix_rank(composition(train, species)))
    if not fitted or rank == len(species):
        return ()
    return (
        f"Training frames have {rank} independent compositions for {len(species)} elements: energies of other "
        "compositions, and of isolated atoms, are arbitrary unless training.reference_energies says them.",
    )


def check_expansions(rows: Sequence[LabelRow], consistency: Consistency | None) -> None:
    """Raise ValueError for expansions about energies that nobody knows."""
    known = any(row.train for row in rows if row.property == "energy")
    if consistency is not None and consistency.taylor and consistency.about == "labels" and not known:
        raise ValueError(
            f"consistency.taylor is {consistency.taylor}, but no training frame has the energy that it expands; "
            "set it to 0, name the key of energies in data.keys.energy, or expand about: prediction."
        )


def total_charge_known(frame: Frame, keys: LabelKeys) -> bool:
    """Whether a frame states its total charge, or conditions on the charges that decide it."""
    stated = label_sources(frame.atoms, keys)["total_charge"] is not None
    return stated or charge_by_conditions(frame.atoms) is not None
