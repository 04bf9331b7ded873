"""From ase.Atoms and files to tensors."""

from ase import Atoms

from cace_qeq.structures.convert.conditions import CONDITION_KEYS, conditions_of, written_conditions
from cace_qeq.structures.convert.frames import MODEL, MissingFileError, check_atoms, place, read_frames
from cace_qeq.structures.convert.kept import NeighborCache
from cace_qeq.structures.convert.lookup import (
    TOTAL_CHARGE_KEYS,
    LabelKeys,
    charge_by_conditions,
    check_charge_sum,
    label_sources,
    labels_of,
    refuse_absent,
    told_of_predictions,
    total_charge_of,
)
from cace_qeq.structures.convert.tensors import to_batch
from cace_qeq.structures.convert.written import left_out, write_frames, write_predictions

__all__ = [
    "CONDITION_KEYS",
    "MODEL",
    "TOTAL_CHARGE_KEYS",
    "Atoms",
    "LabelKeys",
    "MissingFileError",
    "NeighborCache",
    "check_atoms",
    "check_charge_sum",
    "conditions_of",
    "label_sources",
    "labels_of",
    "left_out",
    "place",
    "read_frames",
    "refuse_absent",
    "to_batch",
    "charge_by_conditions",
    "told_of_predictions",
    "total_charge_of",
    "write_frames",
    "write_predictions",
    "written_conditions",
]
