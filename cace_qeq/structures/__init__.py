"""What the world looks like: structures and labels from files and ase.Atoms to frozen batched tensors."""

from cace_qeq.neighbors import Pairs, neighbor_pairs
from cace_qeq.structures.batch import AtomicBatch, EwaldTerms, GeometrySettings
from cace_qeq.structures.collate import collate, collate_labels
from cace_qeq.structures.convert import (
    CONDITION_KEYS,
    TOTAL_CHARGE_KEYS,
    Atoms,
    LabelKeys,
    MissingFileError,
    NeighborCache,
    charge_by_conditions,
    check_atoms,
    check_charge_sum,
    conditions_of,
    label_sources,
    labels_of,
    left_out,
    place,
    read_frames,
    refuse_absent,
    to_batch,
    total_charge_of,
    write_frames,
    write_predictions,
    written_conditions,
)
from cace_qeq.structures.labels import PROPERTIES, Labels
from cace_qeq.structures.neighbors import padded_table
from cace_qeq.structures.table import Neighbors

__all__ = [
    "CONDITION_KEYS",
    "PROPERTIES",
    "TOTAL_CHARGE_KEYS",
    "AtomicBatch",
    "Atoms",
    "EwaldTerms",
    "GeometrySettings",
    "LabelKeys",
    "Labels",
    "MissingFileError",
    "NeighborCache",
    "Neighbors",
    "Pairs",
    "check_atoms",
    "check_charge_sum",
    "collate",
    "collate_labels",
    "conditions_of",
    "label_sources",
    "labels_of",
    "left_out",
    "neighbor_pairs",
    "padded_table",
    "place",
    "read_frames",
    "refuse_absent",
    "to_batch",
    "charge_by_conditions",
    "total_charge_of",
    "write_frames",
    "write_predictions",
    "written_conditions",
]
