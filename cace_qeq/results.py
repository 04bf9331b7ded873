"""Predictions as ASE knows them: its names, its conventions, and of committees the spreads."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray

from cace_qeq.committee import Committee, consensus_of
from cace_qeq.model import CACEQEq
from cace_qeq.prediction import Prediction, apart, predict, stresses
from cace_qeq.structures import AtomicBatch, Atoms, place

SMALLEST_HEIGHT = 1e-3  # Å, of a slab's cell; a lower one has no volume to divide by
SPREADS = ("energy", "forces", "stress", "charges", "dipole")  # of a committee, under these names + "_spread"


def answer(model: CACEQEq | Committee, batch: AtomicBatch, atoms: Atoms) -> dict[str, Any]:
    """What a model says of one structure, or what a committee says and how much its members differ."""
    mean, spread = opinion(model, batch)
    return with_spreads(mean, spread, atoms)


def answers(model: CACEQEq | Committee, batch: AtomicBatch, structures: Sequence[Atoms]) -> list[dict[str, Any]]:
    """The same of each structure of a batch."""
    mean, spread = opinion(model, batch)
    spreads = [None] * len(structures) if spread is None else apart(spread, batch)
    return [with_spreads(*each) for each in zip(apart(mean, batch), spreads, structures, strict=True)]


def opinion(model: CACEQEq | Committee, batch: AtomicBatch) -> tuple[Prediction, Prediction | None]:
    """A prediction, of a committee with its spread."""
    if isinstance(model, CACEQEq):
        return as_ase_strains(predict(model, batch), batch), None
    consensus = consensus_of([as_ase_strains(predict(member, batch), batch) for member in model.members])
    return consensus.mean, consensus.spread


def with_spreads(mean: Prediction, spread: Prediction | None, atoms: Atoms) -> dict[str, Any]:
    results = results_of(mean, atoms)
    if spread is None:
        return results
    spreads = results_of(spread, atoms)
    return {**results, **{f"{name}_spread": spreads[name] for name in SPREADS if name in spreads}}


def as_ase_strains(prediction: Prediction, batch: AtomicBatch) -> Prediction:
    """Stress where external charges stay while atoms and cell are strained; in a Prediction they move too."""
    around = batch.imposed.external
    if not len(around.positions):
        return prediction
    arms = around.positions.unsqueeze(2) * prediction.external_forces.unsqueeze(1)
    by_volume, by_area = stresses(batch, torch.zeros_like(batch.cells).index_add(0, around.structure, arms))
    return replace(prediction, stress=prediction.stress + by_volume, surface_stress=prediction.surface_stress + by_area)


def results_of(prediction: Prediction, atoms: Atoms) -> dict[str, Any]:
    """A prediction for one structure under ASE's names and in its conventions."""
    values = {
        "energy": prediction.energy.item(),
        "free_energy": prediction.energy.item(),
        "energies": array(prediction.atom_energies),
        "forces": array(prediction.forces),
        "charges": array(prediction.charges),
        "electronegativities": array(prediction.electronegativities),
        "short_range_energy": prediction.short_range_energy.item(),
        "electrostatic_energy": prediction.electrostatic_energy.item(),
        "external_forces": array(prediction.external_forces),
    }
    if atoms.pbc.all():
        values["stress"] = full_3x3_to_voigt_6_stress(array(prediction.stress[0]))
    if atoms.pbc.sum() == 2:
        values.update(slab_results(prediction, atoms))
    if prediction.dipole.isfinite().all():
        values["dipole"] = array(prediction.dipole[0])
    return values


def slab_results(prediction: Prediction, atoms: Atoms) -> dict[str, Any]:
    """Stress per area, and as ASE's filters want it: per volume of the cell, if the open direction has a vector."""
    surface = array(prediction.surface_stress[0])
    vectors = atoms.cell.array[atoms.pbc]
    area, volume = np.linalg.norm(np.cross(*vectors)), abs(np.linalg.det(atoms.cell.array))
    if volume < SMALLEST_HEIGHT * area:
        return {"surface_stress": surface}
    return {"surface_stress": surface, "stress": full_3x3_to_voigt_6_stress(surface * area / volume)}


def refuse_infinite(atoms: Atoms, results: dict[str, Any]) -> None:
    wrong = ~np.isfinite(results["forces"]).all(axis=1)
    if wrong.any() or not np.isfinite(results["energy"]):
        raise ValueError(
            f"{place(atoms)}: the energy is {results['energy']} eV, and the forces on {wrong.sum()} atoms "
            "are not finite; atoms may be too close for the model, or the model may be broken."
        )


def array(tensor: torch.Tensor) -> NDArray[np.float64]:
    return tensor.cpu().numpy()
