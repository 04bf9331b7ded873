"""What is examined: a model with a structure, in double precision."""

from dataclasses import dataclass
from functools import cached_property

import torch

from cace_qeq.calculator import CACEQEqCalculator, frozen_copy, refuse_unknown_elements
from cace_qeq.electrostatics import Solver
from cace_qeq.model import CACEQEq
from cace_qeq.prediction import Prediction, predict
from cace_qeq.structures import AtomicBatch, Atoms, place, to_batch
from cace_qeq.structures.convert.tensors import Sites

LARGEST = 500  # atoms; above, a matrix that is written down and decomposed takes too long
ROUNDING = 1e-14  # relative, of an energy that many terms add up to


@dataclass(frozen=True)
class Patient:
    """A model and a structure. `of` makes it from any model.

    model                in double precision, with exact charges
    atoms                the structure, with the conditions that it has written
    total_charge  e      NaN where electrodes decide
    """

    model: CACEQEq
    atoms: Atoms
    total_charge: float

    @classmethod
    def of(cls, model: CACEQEq, atoms: Atoms) -> "Patient":
        """A copy of the model; the total charge as the calculator reads it.

        Raises ValueError for a committee, elements that the model does not know, and structures above 500 atoms.
        """
        if not isinstance(model, CACEQEq):
            raise ValueError(
                f"expected a model, got a {type(model).__name__}; examine its members one by one (`.members`)"
            )
        if len(atoms) > LARGEST:
            raise ValueError(
                f"{place(atoms)}: {len(atoms)} atoms, expected {LARGEST} at most, since matrices are written down; "
                "take a smaller cell of the same kind"
            )
        refuse_unknown_elements(atoms, model.config.species)
        double = frozen_copy(model, "cpu", torch.float64)
        double.solver = Solver("dense")
        return cls(double, atoms, CACEQEqCalculator(double).total_charge(atoms))

    @property
    def has_charges(self) -> bool:
        return self.model.charge_heads is not None

    @cached_property
    def batch(self) -> AtomicBatch:
        return self.batch_of(self.atoms)

    @cached_property
    def sites(self) -> Sites:
        return Sites.of(self.atoms, self.model.frozen_geometry, self.total_charge)

    @cached_property
    def prediction(self) -> Prediction:
        return predict(self.model, self.batch)

    @cached_property
    def largest_force(self) -> float:
        """eV/Å, at least 1: what absolute limits are multiplied with where forces are large"""
        return max(1.0, float(self.prediction.forces.norm(dim=1).max()))

    @cached_property
    def rounding(self) -> float:
        """eV, of the energy"""
        return ROUNDING * (1.0 + float(self.prediction.atom_energies.abs().sum()))

    def batch_of(self, atoms: Atoms) -> AtomicBatch:
        """Another structure of the same total charge."""
        return to_batch(atoms, self.model.frozen_geometry, self.total_charge)

    def prediction_of(self, atoms: Atoms) -> Prediction:
        return predict(self.model, self.batch_of(atoms))

    @torch.no_grad()
    def energy(self, batch: AtomicBatch) -> float:
        """eV"""
        return float(self.model(batch).total)
