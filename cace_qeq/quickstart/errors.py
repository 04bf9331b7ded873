"""Errors on the test frames, per set and per total charge."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from cace_qeq.model import CACEQEq
from cace_qeq.quickstart.results import SetErrors
from cace_qeq.structures import EVALUATION_ATOMS, LabelKeys
from cace_qeq.training import Evaluation, evaluate
from cace_qeq.training.data import Example, examples_of, filled_batches, joined, read_labelled


def errors_of_set(model: CACEQEq, folder: Path) -> SetErrors:
    """Errors on test.extxyz of a folder."""
    keys = LabelKeys()
    examples = examples_of(read_labelled([folder / "test.extxyz"], keys), model.frozen_geometry, keys, None)
    by_charge = defaultdict(list)
    for example in examples:
        by_charge[example.batch.total_charge.item()].append(example)
    charges = sorted(by_charge, reverse=True)
    return SetErrors(evaluated(model, examples), {q: evaluated(model, by_charge[q]) for q in charges})


def evaluated(model: CACEQEq, examples: Sequence[Example]) -> Evaluation:
    return evaluate(model, map(joined, filled_batches(examples, EVALUATION_ATOMS, None)))
