"""From files of labelled frames to batches: reading, splitting, preparing once, filling by atoms."""

import math
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import torch

from cace_qeq.committee import Committee
from cace_qeq.model import CACEQEq
from cace_qeq.structures import (
    EVALUATION_ATOMS,
    PROPERTIES,
    AtomicBatch,
    Atoms,
    GeometrySettings,
    LabelKeys,
    Labels,
    check_charge_sum,
    collate,
    collate_labels,
    filled,
    labels_of,
    place,
    read_frames,
    to_batch,
    total_charge_of,
)
from cace_qeq.training.config import DataConfig

FAR = 6.0  # Å, of images from an isolated atom


@dataclass(frozen=True)
class Frame:
    """One labelled structure of a file."""

    atoms: Atoms
    labels: Labels


@dataclass(frozen=True)
class Split:
    """The frames of a run."""

    train: tuple[Frame, ...]
    valid: tuple[Frame, ...]
    test: tuple[Frame, ...]

    @property
    def everything(self) -> tuple[Frame, ...]:
        return self.train + self.valid + self.test


@dataclass(frozen=True)
class Example:
    """A frame as tensors: neighbours and Ewald integers are found once, before training."""

    batch: AtomicBatch
    labels: Labels


def read_split(config: DataConfig, learned: Iterable[int] = ()) -> Split:
    """Read the training, validation and test frames.

    learned  atomic numbers that need not occur in the training frames

    raises   ValueError for another element that no training frame has, and for a fraction that leaves a set empty
    """
    keys = LabelKeys(**config.keys.model_dump())
    train, test = read_labelled(config.train, keys), read_labelled(config.test, keys)
    if isinstance(config.valid, float):
        train, valid = split_off(train, config.valid, config.split_seed)
    else:
        valid = read_labelled(config.valid, keys)
    refuse_unknown_types(train + valid, config.config_type_weights)
    train, valid = (
        tuple(reweighted(frame, config.config_type_weights) for frame in frames) for frames in (train, valid)
    )
    refuse_unknown_elements(valid + test, {*species_of(train), *learned}, "training frames have")
    return Split(train, valid, test)


def read_labelled(paths: Sequence[Path], keys: LabelKeys) -> tuple[Frame, ...]:
    """All frames of some files, in order; those of a file that is named again are the same objects."""
    read = {path: tuple(_labelled(atoms, keys) for atoms in read_frames(path)) for path in dict.fromkeys(paths)}
    return tuple(frame for path in paths for frame in read[path])


def _labelled(atoms: Atoms, keys: LabelKeys) -> Frame:
    return Frame(atoms, defined_labels(atoms, labels_of(atoms, keys)))


def type_of(atoms: Atoms) -> str:
    """Its config_type; MACE's name for frames without one."""
    return str(atoms.info.get("config_type", "Default"))


def refuse_unknown_types(frames: Sequence[Frame], weights: Mapping[str, float]) -> None:
    """Raise ValueError for a weight of a config_type that no frame has."""
    types = {type_of(frame.atoms) for frame in frames}
    if unknown := sorted(set(weights) - types):
        raise ValueError(
            f"data.config_type_weights: no training or validation frame has the config_type {unknown[0]!r}; "
            f"there are {', '.join(sorted(types))}."
        )


def reweighted(frame: Frame, weights: Mapping[str, float]) -> Frame:
    """With the weight of its config_type; without labels where that is zero."""
    weight, labels = weights.get(type_of(frame.atoms), 1.0), frame.labels
    if not weight:
        missing = {name: torch.full_like(getattr(labels, name), torch.nan) for name in PROPERTIES}
        return replace(frame, labels=replace(labels, **missing))
    return replace(frame, labels=replace(labels, weights=weight * labels.weights))


def defined_labels(atoms: Atoms, labels: Labels) -> Labels:
    """Labels without the dipole of a periodic structure, which counts from an origin of its own in every code."""
    if not atoms.pbc.any():
        return labels
    return replace(labels, dipole=torch.full_like(labels.dipole, torch.nan))


def split_off(frames: tuple[Frame, ...], fraction: float, seed: int) -> tuple[tuple[Frame, ...], tuple[Frame, ...]]:
    """Training frames, and the random `fraction` of them that is set aside, both in file order.

    Isolated atoms, and the last frame of an element, stay with the training frames.
    """
    n_aside = max(1, round(fraction * len(frames)))
    order = torch.randperm(len(frames), generator=torch.Generator().manual_seed(seed)).tolist()
    elements = [set(frame.atoms.numbers.tolist()) for frame in frames]
    left, aside = Counter(element for each in elements for element in each), set[int]()
    for index in order:
        last = any(left[element] == 1 for element in elements[index])
        if len(aside) < n_aside and not last and not is_isolated(frames[index].atoms):
            aside.add(index)
            left.subtract(elements[index])
    if n_aside >= len(frames) or not aside:
        raise ValueError(
            f"a validation fraction of {fraction} leaves no frame of every element to train on, of {len(frames)}; "
            "give more frames or a smaller data.valid."
        )
    if len(aside) < n_aside:
        warnings.warn(
            f"{len(aside)} frames are set aside instead of {n_aside}: "
            "the others are the last of an element, or isolated atoms.",
            stacklevel=2,
        )
    train = tuple(frame for index, frame in enumerate(frames) if index not in aside)
    return train, tuple(frames[index] for index in sorted(aside))


def is_isolated(atoms: Atoms) -> bool:
    """Whether it is one atom whose images, if it has any, are far away."""
    if len(atoms) > 1:
        return False
    steps = np.array(list(product((-1, 0, 1), repeat=3)), dtype=float) * atoms.pbc
    images = np.linalg.norm(steps @ atoms.cell.array, axis=1)[steps.any(axis=1)]
    return bool((images > FAR).all())


def species_of(frames: Sequence[Frame]) -> tuple[int, ...]:
    """Atomic numbers that occur, ascending."""
    return tuple(sorted({number for frame in frames for number in frame.atoms.numbers.tolist()}))


def examples_of(
    frames: Sequence[Frame],
    geometry: GeometrySettings,
    keys: LabelKeys,
    default_charge: float | None,
    on_frame: Callable[[], None] = lambda: None,
) -> tuple[Example, ...]:
    """Prepare frames for a model.

    on_frame  called after each frame, e.g. to move a progress bar

    raises  ValueError naming the frame: no total charge without a default, charges that do not add up to it,
            or a structure that is not valid
    """
    examples = []
    for frame in frames:
        examples.append(example_of(frame, geometry, keys, default_charge))
        on_frame()
    return tuple(examples)


def example_of(frame: Frame, geometry: GeometrySettings, keys: LabelKeys, default_charge: float | None) -> Example:
    charge = total_charge_of(frame.atoms, keys, default_charge)
    if geometry.largest_width > 0:  # the model has charges
        check_charge_sum(frame.atoms, frame.labels, charge)
    return Example(to_batch(frame.atoms, geometry, charge), frame.labels)


def joined(examples: Sequence[Example]) -> Example:
    """Several examples as one."""
    return Example(
        collate([example.batch for example in examples]),
        collate_labels([example.labels for example in examples]),
    )


def filled_batches(
    examples: Sequence[Example], batch_atoms: int, generator: torch.Generator | None
) -> Iterator[list[Example]]:
    """Batches of about `batch_atoms` atoms each: as few as hold all atoms, evenly filled.

    generator  shuffles the examples; None keeps their order
    """
    order = list(range(len(examples)))
    if generator is not None:
        order = torch.randperm(len(examples), generator=generator).tolist()
    shuffled = [examples[index] for index in order]
    for first, end in filled([example.batch.n_atoms for example in shuffled], batch_atoms):
        yield shuffled[first:end]


def batches_for(
    model: CACEQEq | Committee,
    frames: Sequence[Frame],
    keys: LabelKeys,
    default_charge: float | None,
    batch_atoms: int = EVALUATION_ATOMS,
) -> Iterator[Example]:
    """Labelled frames as batches for a trained model, in their order, each made when it is asked for.

    default_charge  e, for frames that state none; None: zero if the model has seen neutral structures only,
                    otherwise an error

    raises  ValueError naming the frame for an element that the model does not know, and as `examples_of`
    """
    if default_charge is None and not charged(model):
        default_charge = 0.0
    if default_charge is not None and not math.isfinite(default_charge):
        raise ValueError(f"the default total charge is {default_charge} e, expected a finite number.")
    refuse_unknown_elements(frames, model.config.species, "the model knows")
    for first, end in filled([len(frame.atoms) for frame in frames], batch_atoms):
        yield joined(examples_of(frames[first:end], model.frozen_geometry, keys, default_charge))


def refuse_unknown_elements(frames: Iterable[Frame], known: Iterable[int], who: str) -> None:
    """Raise ValueError for the first frame with another element.

    who  knows these: "the model knows"
    """
    known = set(known)
    for frame in frames:
        if unknown := set(frame.atoms.numbers.tolist()) - known:
            raise ValueError(
                f"{place(frame.atoms)}: atomic numbers {sorted(unknown)}, where {who} {sorted(known)} alone; train "
                "with frames that have them, or remove this frame."
            )


def charged(model: CACEQEq | Committee) -> bool:
    """Whether total charge matters to the model: it has charges and has seen other totals than zero."""
    return model.config.energy != "none" and any(model.provenance.get("total_charges", ()))
