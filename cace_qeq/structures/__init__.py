"""What the world looks like: atoms, neighbours, labels, batches."""

from cace_qeq.structures.batch import AtomicBatch, EwaldTerms, GeometrySettings, Neighbors, Pairs
from cace_qeq.structures.cache import NeighborCache
from cace_qeq.structures.collate import collate, collate_labels
from cace_qeq.structures.convert import (
    Atoms,
    LabelKeys,
    check_charge_sum,
    label_sources,
    labels_of,
    place,
    to_batch,
    total_charge_of,
)
from cace_qeq.structures.labels import Labels
from cace_qeq.structures.neighbors import neighbor_pairs
from cace_qeq.structures.read import read_frames

__all__ = [
    "AtomicBatch",
    "Atoms",
    "EwaldTerms",
    "GeometrySettings",
    "LabelKeys",
    "Labels",
    "NeighborCache",
    "Neighbors",
    "Pairs",
    "check_charge_sum",
    "collate",
    "collate_labels",
    "label_sources",
    "labels_of",
    "neighbor_pairs",
    "place",
    "read_frames",
    "to_batch",
    "total_charge_of",
]
