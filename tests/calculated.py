"""Structures with a calculator."""

from ase import Atoms

import zoo
from cace_qeq.calculator import CACEQEqCalculator
from small_models import crystal, trained_model, untrained_model


def ethanol(model=None, **options) -> Atoms:
    atoms = zoo.ethanol()
    atoms.info.clear()
    atoms.calc = CACEQEqCalculator(model or untrained_model(atoms), **options)
    return atoms


def salt(model=None, **options) -> Atoms:
    atoms = crystal()
    atoms.calc = CACEQEqCalculator(model or trained_model(), **options)
    return atoms
