"""The committed reference sets are what their datasheets say."""

import re

import ase.io
import numpy as np
import pytest
from ase import Atoms

from cace_qeq.datasets import NAMES, dataset

SPLITS = ("train", "valid", "test")


@pytest.fixture(scope="module", params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def sets(name: str) -> dict[str, list[Atoms]]:
    return {split: ase.io.read(dataset(name) / f"{split}.extxyz", index=":") for split in SPLITS}


def test_all_labels_are_there_and_finite(sets):
    for atoms in every_frame(sets):
        molecule = not atoms.pbc.any()
        labels = [atoms.info["REF_energy"], atoms.arrays["REF_forces"], atoms.arrays["REF_charges"]]
        labels += [atoms.info["REF_dipole" if molecule else "REF_stress"], atoms.positions]
        assert all(np.isfinite(label).all() for label in labels)


def test_charges_add_up(sets):
    for atoms in every_frame(sets):
        # printed with 5 decimals that add up exactly; what is left is the rounding of float64
        assert atoms.arrays["REF_charges"].sum() == pytest.approx(atoms.info["total_charge"], abs=1e-12)


def test_forces_cancel(sets):
    for atoms in every_frame(sets):
        # each force is rounded to 5 decimals
        assert np.abs(atoms.arrays["REF_forces"].sum(axis=0)).max() <= 0.5e-5 * len(atoms) + 1e-12


def test_dipoles_of_neutral_molecules_hold_the_charges_dipole(sets):
    """Mulliken point charges miss the atomic dipoles only; a wrong origin or unit would miss by far more."""
    for atoms in (a for a in every_frame(sets) if not a.pbc.any() and a.info["total_charge"] == 0):
        points = atoms.arrays["REF_charges"] @ (atoms.positions - atoms.get_center_of_mass())
        assert np.linalg.norm(points - atoms.info["REF_dipole"]) < 0.5


def test_no_geometry_stands_in_two_splits(sets):
    geometries = [{atoms.positions.tobytes() for atoms in frames} for frames in sets.values()]
    assert len(set().union(*geometries)) == sum(map(len, geometries))


def test_charge_states_of_a_geometry_stay_together():
    groups = {}
    for split in SPLITS:
        for atoms in ase.io.read(dataset("ag3") / f"{split}.extxyz", index=":"):
            groups.setdefault(atoms.info["geom_id"], []).append((split, atoms.info["total_charge"]))
    assert all(sorted(group) == [(group[0][0], -1), (group[0][0], 1)] for group in groups.values())


def test_datasheet_counts_are_true(name, sets):
    text = (dataset(name) / "README.md").read_text()
    rows = re.findall(r"^\| (\w+) \| (\d+) \| (\d+) \|", text, re.MULTILINE)
    stated = {split: (int(n_frames), int(n_atoms)) for split, n_frames, n_atoms in rows}
    assert stated == {split: (len(frames), sum(map(len, frames))) for split, frames in sets.items()}


def test_datasheet_names_level_seed_and_licence(name):
    text = (dataset(name) / "README.md").read_text()
    assert all(word in text for word in ("GFN1-xTB", "tblite", "Seed", "CC0"))


def test_sets_are_small():
    total = sum(path.stat().st_size for name in NAMES for path in dataset(name).iterdir())
    assert total < 5e6  # bytes; a clone stays quick


def test_a_missing_set_is_named_with_the_ones_there_are():
    with pytest.raises(FileNotFoundError, match=r"'gold'.*ag3, carbon_chain"):
        dataset("gold")


def every_frame(sets: dict[str, list[Atoms]]) -> list[Atoms]:
    return [atoms for frames in sets.values() for atoms in frames]
