"""ASE's view of a model: attach it to Atoms and ask for energies, forces, stress and charges."""

import copy
import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.data import chemical_symbols
from ase.outputs import Properties, all_outputs

from cace_qeq.checkpoint import device_of, refuse_precision
from cace_qeq.committee import Committee, load_potential
from cace_qeq.compilation import compile_networks
from cace_qeq.conditions import SAME_CHARGE
from cace_qeq.electrostatics import ConvergenceError, Solver
from cace_qeq.model import CACEQEq
from cace_qeq.results import SPREADS, answer, answers, refuse_infinite
from cace_qeq.structures import (
    EVALUATION_ATOMS,
    LabelKeys,
    NeighborCache,
    charge_by_conditions,
    collate,
    filled,
    place,
    to_batch,
    total_charge_of,
    written_conditions,
)
from cace_qeq.structures.convert.lookup import ALIASES

ENERGIES = ("energy", "free_energy", "energies", "short_range_energy", "electrostatic_energy")
CHARGES = ("charges", "electronegativities", "dipole", "external_forces")

UNSEEN = (
    "the model has seen a total charge of {:+g} e alone, which does not tell what an electron more or less costs: at "
    "another, energies hold an arbitrary multiple of the difference, and beside electrodes with potentials charges do."
)
UNLEARNED = (
    "the model has seen total charges of {} e alone: at {:+g} e, the excess begins on the atoms that free atoms' "
    "ionization energies and electron affinities say, and flows along bonds from there."
)

BEYOND = "the model has seen total charges from {:+g} to {:+g} e, and {:+g} e is beyond them."

Potential = TypeVar("Potential", bound=CACEQEq | Committee)


class CACEQEqCalculator(Calculator):
    """Energies, forces, stress and charges of a CACEQEq model, or the means of a committee of them.

    model     CACEQEq or Committee (a copy is taken), or the path of a file with either
    device    that the model runs on
    dtype     of the network: torch.float32, torch.float64, or as saved
    skin      Å, added to the neighbour lists, which are kept until an atom has moved by half of it
    solver    of the charges; conjugate gradients begin with the charges of the last structure
    compiled  whether code is generated at the first call (a minute; needs a C++ compiler): a molecule takes a fifth of
              the time, with charges or without, 200 atoms a fifth to a third less; on a GPU networks become CUDA
              graphs, at once, and thousands of atoms gain

    The total charge is atoms.info["charge"] or ["total_charge"]; without either it is 0 if the model has
    never seen another, or whatever electrodes at fixed potential give. Fragments, electrodes, an electric field and
    external charges are read from `atoms` as well (`structures.conditions_of` names the keys).

    `results` holds, beside ASE's properties, "short_range_energy" and "electrostatic_energy" (eV, their sum is
    "energy") and "electronegativities" (eV/e). "stress" needs three
    periodic directions, or two and a cell with volume: then it is "surface_stress" (eV/Å², (3, 3), slabs only)
    per height of that cell. "dipole" (about the centre of mass) needs none, but of cells charge that flows along
    bonds; models without charges have no charges and pay no attention to conditions. "external_forces" (eV/Å) act on
    the external charges. Of a committee, there are also the standard deviations over its members, "energy_spread" (eV),
    "forces_spread" (eV/Å, each component), "stress_spread", "charges_spread" and "dipole_spread", in the shape and unit
    of what they belong to.

    Raises ValueError for an element that the model does not know, a total charge that is missing, not a number or given
    twice differently, conditions that contradict, positions that are not finite or coincide, and a device that is not
    there. Warns of a total charge that is not the single one of the training set, if energies depend on its cost.
    """

    def __init__(
        self,
        model: CACEQEq | Committee | str | Path,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | None = None,
        skin: float = 0.5,
        solver: Solver | None = None,
        compiled: bool = False,
    ):
        super().__init__()
        potential = load_potential(model) if isinstance(model, str | Path) else model
        if not isinstance(potential, CACEQEq | Committee):
            raise ValueError(
                f"expected a CACEQEq, a Committee or the path of a file with either, not {type(model).__name__}; "
                "several models together are a Committee (or `cace-qeq committee`)."
            )
        if solver is not None and not isinstance(solver, Solver):
            raise ValueError(f"solver is {solver!r}, expected a Solver, such as Solver({solver!r}).")
        self.device = device_of(device)
        self.model = frozen_copy(potential, self.device, dtype)
        self.model.solver = solver or self.model.solver
        if compiled:
            compile_networks(self.model)
        self.neighbors = NeighborCache(self.model.frozen_geometry, skin)
        self.last_charges = torch.zeros(0, dtype=torch.float64)
        self.conditions: dict[str, Any] = {}
        self.charges_written: tuple[Any, ...] = ()
        self.implemented_properties = [*ENERGIES, "forces", "stress", "surface_stress"]
        if self.has_charges:
            self.implemented_properties += CHARGES
        if isinstance(self.model, Committee):
            known = self.implemented_properties
            self.implemented_properties = known + [f"{name}_spread" for name in SPREADS if name in known]

    @property
    def has_charges(self) -> bool:
        return self.model.config.energy != "none"

    def set(self, **settings: Any) -> dict[str, Any]:
        """ASE's way of changing parameters, of which this calculator has none.

        Raises ValueError for any, as they would change nothing.
        """
        if settings:
            raise ValueError(
                f"{', '.join(settings)}: a calculator keeps its settings; make another one, and set the total charge "
                'and other conditions in atoms.info, e.g. atoms.info["charge"] = 1.'
            )
        return {}

    def total_charge(self, atoms: Atoms) -> float:
        """e; zero for a model without charges, which does not ask; NaN where electrodes decide."""
        if not self.has_charges:
            return 0.0
        seen = self.model.provenance.get("total_charges", [])
        silent = not any(key in atoms.info for key in ALIASES["total_charge"])
        if any(seen) and silent and charge_by_conditions(atoms) is None:
            raise ValueError(
                f"{place(atoms)}: the total charge is missing, and the model has seen {seen} e; "
                'state it, 0 included: atoms.info["total_charge"], on the command line --charge, or of predict and '
                "evaluate --default-total-charge."
            )
        charge = total_charge_of(atoms, LabelKeys(), default=0.0)
        matters = self.model.config.energy == "equilibrated" or math.isnan(charge)  # of "coulomb" beside electrodes
        if matters and len(set(seen)) == 1 and not abs(charge - seen[0]) <= SAME_CHARGE:
            warnings.warn(UNSEEN.format(seen[0]), stacklevel=2)
            return charge
        along_bonds = self.model.config.charge_flow == "bonds" and abs(charge) > SAME_CHARGE  # not NaN
        if along_bonds and seen and not any(known * charge > 0 for known in seen):
            warnings.warn(UNLEARNED.format(", ".join(f"{known:+g}" for known in seen), charge), stacklevel=2)
        elif len(set(seen)) > 1 and (charge < min(seen) - SAME_CHARGE or charge > max(seen) + SAME_CHARGE):  # not NaN
            warnings.warn(BEYOND.format(min(seen), max(seen), charge), stacklevel=2)
        return charge

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """What differs from the last calculation, in any digit; total charge and conditions too, unlike in ASE."""
        if self.atoms is None:
            return list(all_changes)
        before = self.atoms
        same = {
            "positions": before.positions.tobytes() == atoms.positions.tobytes(),
            "numbers": before.numbers.tobytes() == atoms.numbers.tobytes(),
            "cell": before.cell.array.tobytes() == atoms.cell.array.tobytes(),
            "pbc": before.pbc.tobytes() == atoms.pbc.tobytes(),
            "masses": before.get_masses().tobytes() == atoms.get_masses().tobytes(),
            "total_charge": self.charges_written == written_charges(atoms),
            "conditions": self.conditions == written_conditions(atoms),
        }
        return [name for name, is_same in same.items() if not is_same]

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Iterable[str] = all_changes,
    ) -> None:
        """All properties at once; none costs anything beside the forces."""
        if atoms is not None:
            self.atoms = atoms.copy()
            self.conditions, self.charges_written = written_conditions(atoms), written_charges(atoms)  # not shared
        self.results = {}
        refuse_unknown_elements(self.atoms, self.model.config.species)
        self.results = self.implemented(self.evaluated(self.atoms, self.total_charge(self.atoms)))

    def results_together(
        self,
        structures: Iterable[Atoms],
        batch_atoms: int = EVALUATION_ATOMS,
        on_done: Callable[[int], None] = lambda n_structures: None,
    ) -> list[dict[str, Any]]:
        """Those of many structures, evaluated in batches: small ones take a fraction of the time.

        batch_atoms  in a batch; a GPU likes thousands
        on_done      is told how many structures were in each batch, e.g. to move a progress bar

        Raises what one of them alone does, and ValueError for batches of no atoms.
        """
        if batch_atoms < 1:
            raise ValueError(f"batch_atoms is {batch_atoms}, expected one or more.")
        structures, results = [structures] if isinstance(structures, Atoms) else list(structures), []
        for first, end in filled([len(atoms) for atoms in structures], batch_atoms):
            results += self.results_of_batch(structures[first:end])
            on_done(end - first)
        return results

    def results_of_batch(self, structures: Sequence[Atoms]) -> list[dict[str, Any]]:
        for atoms in structures:
            refuse_unknown_elements(atoms, self.model.config.species)
        geometry, charges = self.model.frozen_geometry, [self.total_charge(atoms) for atoms in structures]
        batches = [to_batch(atoms, geometry, charge) for atoms, charge in zip(structures, charges, strict=True)]
        try:
            found = answers(self.model, collate(batches).to(self.device), structures)
            for atoms, results in zip(structures, found, strict=True):
                refuse_infinite(atoms, results)
        except (ValueError, ConvergenceError):
            if len(structures) == 1:
                raise
            return [self.results_of_batch([atoms])[0] for atoms in structures]  # which one it is
        return [self.implemented(results) for results in found]

    def implemented(self, results: dict[str, Any]) -> dict[str, Any]:
        return {name: results[name] for name in self.implemented_properties if name in results}

    def export_properties(self) -> Properties:
        """Those of `results` that ASE has a name for."""
        return Properties({name: value for name, value in self.results.items() if name in all_outputs})

    def evaluated(self, atoms: Atoms, total_charge: float) -> dict[str, Any]:
        batch = self.neighbors.batch(atoms, total_charge)
        if self.has_charges and len(self.last_charges) == len(atoms):
            batch = replace(batch, start=self.last_charges)
        try:
            results = answer(self.model, batch.to(self.device), atoms)
            refuse_infinite(atoms, results)
        except (ValueError, ConvergenceError):
            to_batch(atoms, self.model.frozen_geometry, total_charge)  # tells which atoms have met in a kept list
            raise
        self.last_charges = torch.from_numpy(results["charges"].copy())
        return results


def frozen_copy(model: Potential, device: torch.device | str, dtype: torch.dtype | None) -> Potential:
    """The model to evaluate, independent of the caller's and without gradients of its parameters."""
    refuse_precision(dtype)
    copied = copy.deepcopy(model)
    copied.to(device=device, dtype=dtype).eval().requires_grad_(False)
    return copied


def written_charges(atoms: Atoms) -> tuple[Any, ...]:
    return tuple(np.asarray(atoms.info[key]).tolist() if key in atoms.info else None for key in ALIASES["total_charge"])


def refuse_unknown_elements(atoms: Atoms, species: Sequence[int]) -> None:
    unknown = set(atoms.numbers.tolist()) - set(species)
    if unknown:
        atom = next(index for index, number in enumerate(atoms.numbers) if number in unknown)
        known = ", ".join(chemical_symbols[number] for number in species)
        raise ValueError(
            f"{place(atoms)}: atom {atom} is {chemical_symbols[atoms.numbers[atom]]}, but the model knows "
            f"{known} alone; use a model that was trained with this element."
        )
