"""All examinations, one after the other."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from cace_qeq.doctor.charges import equations
from cace_qeq.doctor.check import Check
from cace_qeq.doctor.cutoff import passage
from cace_qeq.doctor.derivatives import finite_differences
from cace_qeq.doctor.ewald import sums
from cace_qeq.doctor.paths import cell_paths
from cace_qeq.doctor.patient import Patient
from cace_qeq.doctor.solvers import agreement
from cace_qeq.doctor.symmetry import symmetries
from cace_qeq.model import CACEQEq
from cace_qeq.structures import Atoms

Examination = Callable[[Patient], Sequence[Check]]

EXAMINATIONS: Mapping[str, Examination] = {
    "charges": equations,
    "lattice sums": sums,
    "finite differences": finite_differences,
    "symmetry": symmetries,
    "cutoff": passage,
    "cells": cell_paths,
    "solvers": agreement,
}


def examine(model: CACEQEq, atoms: Atoms) -> Iterator[Check]:
    """Everything that can be checked of a model on a structure; the model stays as it is.

    An examination that breaks down is a check that fails, with the reason in its name.

    Raises ValueError for a structure that the model cannot evaluate at all.
    """
    patient = Patient.of(model, atoms)
    patient.batch  # noqa: B018  refuses what is wrong with the structure, before anything is blamed on the model
    for name, examination in EXAMINATIONS.items():
        yield from outcome(name, examination, patient)


def outcome(name: str, examination: Examination, patient: Patient) -> Sequence[Check]:
    try:
        return examination(patient)
    except (ValueError, RuntimeError) as error:
        return [Check(f"{name} broke down: {error}", float("nan"), 0.0, "")]
