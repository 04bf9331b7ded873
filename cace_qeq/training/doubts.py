"""What looks wrong about the frames of a run although it can be trained on: notes for people, before training."""

from collections.abc import Mapping, Sequence

import torch

from cace_qeq.model import CACEQEq
from cace_qeq.structures import TOTAL_CHARGE_KEYS, LabelKeys, written_conditions
from cace_qeq.training.baseline import composition
from cace_qeq.training.data import Example, Frame, Split
from cace_qeq.training.labelled import LabelRow

SHIFT, TIMES = 0.5, 10.0  # eV/atom, and times the spread of the training frames, that other energies may be apart
DIGITS = 6  # of positions in Å that frames have to share to be the same


def unvalidated(rows: Sequence[LabelRow]) -> tuple[str, ...]:
    """A note on what is trained on and not validated."""
    names = [row.property for row in rows if any(row.weights) and not row.valid]
    if not names:
        return ()
    return (
        f"{' and '.join(names)}: trained on, but no validation frame has labels; the best model is chosen without. "
        "data.keys holds for all files.",
    )


def repeated(split: Split, keys: LabelKeys) -> tuple[str, ...]:
    """Notes on frames that stand twice, and on held-out frames that are trained on.

    A file that is named several times is meant to count as often, and no reason for a note.
    """
    read = {id(frame.atoms): frame for frame in split.train}.values()
    known = {identity(frame, keys) for frame in read}
    twice = len(read) - len(known)
    notes = [f"{twice} training frames repeat others."] if twice else []
    for name, frames in {"validation": split.valid, "test": split.test}.items():
        shared = sum(identity(frame, keys) in known for frame in frames)
        if shared:
            notes.append(
                f"{shared} of {len(frames)} {name} frames are training frames too: their errors are too small."
            )
    return tuple(notes)


def identity(frame: Frame, keys: LabelKeys) -> tuple[object, ...]:
    """Equal for the same structure with the same total charge and conditions."""
    atoms = frame.atoms
    charges = [atoms.info.get(key) for key in (*TOTAL_CHARGE_KEYS, keys.total_charge) if key is not None]
    arrays = atoms.numbers, atoms.positions.round(DIGITS) + 0.0, atoms.cell.array.round(DIGITS) + 0.0, atoms.pbc
    return (*(array.tobytes() for array in arrays), str(charges), str(written_conditions(atoms)))


def lonely(examples: Sequence[Example], cutoff: float) -> tuple[str, ...]:
    """A note on a cutoff within which no atom has a neighbour."""
    if any(example.batch.neighbors.mask.any() for example in examples):
        return ()
    return (
        f"No atom of the training frames has a neighbour within model.cutoff, {cutoff:g} Å: nothing can be learned of "
        "how they interact; lengths are in Å.",
    )


def shifted(model: CACEQEq, sets: Mapping[str, Sequence[Example]]) -> tuple[str, ...]:
    """Notes on energies that are far from those of the training frames beyond what their composition tells.

    sets  "training" and others by what they are called
    """
    own, notes = excess(model, sets["training"]), []
    for name, examples in sets.items():
        other = excess(model, examples)
        if name == "training" or not len(own) or not len(other):
            continue
        apart = float(other.median() - own.median())
        if abs(apart) > max(SHIFT, TIMES * float(own.std(unbiased=False))):
            notes.append(
                f"Energies of the {name} frames are {apart:+.3g} eV/atom away from those of the training frames, "
                "beyond what compositions tell: other units, or another method?"
            )
    return tuple(notes)


def excess(model: CACEQEq, examples: Sequence[Example]) -> torch.Tensor:
    """(structure,)  eV/atom, labelled energies less the reference energies of the elements"""
    if not examples:
        return torch.zeros(0, dtype=torch.float64)
    counts = composition(examples, model.config.species)
    energies = torch.cat([example.labels.energy for example in examples]) - counts @ model.reference_energies.cpu()
    return (energies / counts.sum(1))[energies.isfinite()]
