"""Text and splits of labelled frames."""

import io

import ase.io
import numpy as np
import pytest
from ase import Atoms

pytest.importorskip("tblite", reason="needs the extra xtb: pip install 'cace_qeq[xtb]'")
from generate.engine import ChargeState, SinglePoint  # noqa: E402
from generate.frames import Frame, Splitter, exact_sum, extended_xyz, is_sound, rounded  # noqa: E402
from generate.systems import Candidate  # noqa: E402


@pytest.fixture
def labels() -> SinglePoint:
    forces = np.array([[0.25, 0, 0], [-0.125, 0, 0], [-0.125, 0, 0]])
    return SinglePoint(-12.5, forces, np.full(3, 1 / 3), np.array([0.1, 0.2, 0.3]), None)


def test_printed_charges_add_up_exactly():
    charges = np.random.default_rng(0).normal(size=17)
    charges += (1 - charges.sum()) / 17
    printed = exact_sum(charges, 1)
    assert round(printed.sum() * 1e5) == 100_000
    np.testing.assert_allclose(printed, charges, atol=1e-5)


def test_a_frame_reads_back(labels):
    candidate = rounded(Candidate(Atoms("Ag3", np.eye(3) * np.pi), ChargeState(1), 4, {"geom_id": 4}))
    atoms = ase.io.read(io.StringIO(extended_xyz(Frame(candidate, labels, "train"))), format="extxyz")
    np.testing.assert_array_equal(atoms.positions, candidate.atoms.positions)
    np.testing.assert_array_equal(atoms.arrays["REF_forces"], labels.forces)
    assert (atoms.info["REF_energy"], atoms.info["total_charge"], atoms.info["geom_id"]) == (-12.5, 1, 4)
    assert not atoms.pbc.any()


def test_groups_decide_the_split():
    splitter = Splitter()
    splits = [splitter.split(Candidate(Atoms(), ChargeState(0), group)) for group in (7, 8, 9, 10, 18, 19)]
    assert splits == ["train", "valid", "test", "train", "valid", "test"]


def test_frames_without_a_group_are_counted_within_their_kind():
    splitter = Splitter()
    splits = [
        splitter.split(Candidate(Atoms(), ChargeState(0), None, {"config_type": kind}))
        for kind in [*"aaaaaaaa", "b", "a", "a"]
    ]
    assert splits[-3:] == ["train", "valid", "test"]


def test_frames_that_do_not_add_up_are_left_out(labels):
    assert is_sound(labels, total_charge=1)
    assert not is_sound(labels, total_charge=0)
