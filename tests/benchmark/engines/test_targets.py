"""Labels, what is taken off them, and errors, by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.io import write

from cace_qeq.benchmark.engines.targets import (
    ErrorSums,
    Predicted,
    Scale,
    Target,
    energy_of,
    joined,
    loss,
    nested,
    read,
    reference_energies,
    target,
)

ENERGIES = {1: -13.5, 8: -2040.0}


def frame(symbols: str, extra: float = 0.0) -> Atoms:
    atoms = Atoms(symbols, positions=np.arange(3 * len(Atoms(symbols))).reshape(-1, 3))
    atoms.info["REF_energy"] = sum(ENERGIES[number] for number in atoms.numbers.tolist()) + extra
    atoms.arrays["REF_forces"] = np.full((len(atoms), 3), 0.5)
    return atoms


def label(energy: float, n_atoms: int, charges: float = math.nan) -> Target:
    forces = torch.zeros(n_atoms, 3, dtype=torch.float64)
    filled = torch.full((n_atoms,), charges, dtype=torch.float64)
    stress, dipole = torch.zeros(1, 3, 3, dtype=torch.float64), torch.full((1, 3), math.nan, dtype=torch.float64)
    return Target(torch.tensor([energy], dtype=torch.float64), forces, filled, stress, dipole, torch.tensor([n_atoms]))


def test_frames_lie_in_the_box_that_their_file_leaves_out(tmp_path):
    path = str(tmp_path / "frames.extxyz")
    write(path, [frame("H2O"), frame("H2")], format="extxyz")
    assert not any(atoms.pbc.any() for atoms in read([path], 0.0))
    for atoms in read([path, path], 30.0):
        assert atoms.pbc.all()
        np.testing.assert_array_equal(atoms.cell.array, 30.0 * np.eye(3))


def test_reference_energies_are_those_of_the_elements():
    frames = [frame("H2O"), frame("H2"), frame("O2")]
    found = reference_energies(frames, [energy_of(atoms) for atoms in frames])
    assert found == pytest.approx(ENERGIES, abs=1e-9)


def test_what_is_left_of_an_energy():
    found = target(frame("H2O", extra=0.25), ENERGIES)
    assert found.energy.item() == pytest.approx(0.25, abs=1e-9)
    assert found.charges.isnan().all()
    assert found.n_atoms.tolist() == [3]


def test_subsets_are_nested_and_keep_their_order():
    frames = [frame("H2", extra=float(index)) for index in range(20)]
    few, more, everything = (nested(frames, n_frames) for n_frames in (5, 12, 0))
    assert [len(few), len(more), len(everything)] == [5, 12, 20]
    assert {id(atoms) for atoms in few} < {id(atoms) for atoms in more}
    with pytest.raises(ValueError, match="the set has 20 training frames; 0 takes all"):
        nested(frames, 21)
    assert [atoms.info["REF_energy"] for atoms in more] == sorted(atoms.info["REF_energy"] for atoms in more)


def test_errors_by_hand():
    sums = ErrorSums()
    for energy, n_atoms in ((0.002, 2), (-0.006, 3)):
        wrong = label(energy, n_atoms)
        predicted = Predicted(wrong.energy, wrong.forces + 0.01, wrong.charges, wrong.stress + 0.002, wrong.dipole)
        sums.add(predicted, label(0.0, n_atoms))
    found = sums.results()
    assert found["total_energy_rmse_mev"] == pytest.approx(math.sqrt((2**2 + 6**2) / 2))
    assert found["energy_mae_mev_per_atom"] == pytest.approx((1 + 2) / 2)
    assert found["forces_rmse_mev_per_angstrom"] == pytest.approx(10.0)
    assert found["stress_mae_mev_per_cubic_angstrom"] == pytest.approx(2.0)
    assert "charges_rmse_me" not in found and "dipole_mae_me_angstrom" not in found  # neither labelled nor predicted


def test_errors_are_those_of_labelled_frames_and_broken_predictions_are_named():
    sums, known, other = ErrorSums(), label(0.0, 2), label(0.0, 2)
    known = replace(known, dipole=torch.ones_like(known.dipole))
    for one in (known, other):
        sums.add(Predicted(one.energy, one.forces, dipole=torch.full_like(known.dipole, 1.003)), one)
    assert sums.results()["dipole_mae_me_angstrom"] == pytest.approx(3.0)
    sums.add(Predicted(known.energy, known.forces * torch.nan), known)
    with pytest.raises(FloatingPointError, match="predictions of forces are not finite"):
        sums.results()


def test_stress_in_voigts_order_is_that_of_the_full_matrix():
    one, other = frame("H2"), frame("H2")
    one.info["REF_stress"] = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    other.info["REF_stress"] = np.array([1.0, 6.0, 5.0, 6.0, 2.0, 4.0, 5.0, 4.0, 3.0])
    assert torch.equal(target(one, ENERGIES).stress, target(other, ENERGIES).stress)


def test_loss_by_hand():
    both = joined([label(0.0, 2, charges=0.1), label(0.0, 4, charges=0.1)])
    forces = torch.zeros_like(both.forces)
    forces[0, 0] = 3.0
    found = Predicted(torch.tensor([4.0, 0.0]), forces, torch.zeros(6))
    value = loss(found, both, Scale(forces=2.0), (10.0, 5.0))
    assert value.item() == pytest.approx(10 * (4 / 2 / 2) ** 2 / 2 + (3 / 2) ** 2 / 18 + 5 * 0.1**2)


def test_charges_count_only_with_weight_and_label():
    labelled, missing = label(0.0, 2, charges=0.1), label(0.0, 2)
    charges = torch.full((4,), 0.3, dtype=torch.float64, requires_grad=True)
    both = joined([labelled, missing])
    found = Predicted(both.energy, both.forces, charges)
    assert loss(found, both, Scale(), (1.0, 0.0)).item() == 0.0
    counted = loss(found, both, Scale(), (1.0, 5.0))
    assert counted.item() == pytest.approx(5 * 0.2**2)
    counted.backward()
    assert charges.grad[:2].all() and not charges.grad[2:].any()
    assert loss(Predicted(missing.energy, missing.forces, charges[:2]), missing, Scale(), (1.0, 5.0)).item() == 0.0
