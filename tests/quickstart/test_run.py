"""The quickstart in small: real training, real dynamics, every file."""

import json

import numpy as np
import pytest
from ase.io import read

from cace_qeq.checkpoint import load_model
from cace_qeq.files import alone
from cace_qeq.quickstart import quickstart
from small_quickstart import Listener, small_plan

FILES = ("model.safetensors", "metrics.json", "parity.png", "learning_curve.png", "md.extxyz", "report.html")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    plan, listener = small_plan(tmp_path_factory.mktemp("quickstart")), Listener()
    return plan, listener, quickstart(plan, "new", listener)


def numbers(value):
    """All leaves of nested dictionaries and lists."""
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return [leaf for each in inner for leaf in numbers(each)]
    return [value]


def test_every_file_is_there_and_nothing_temporary(finished):
    plan, _, _ = finished
    assert {*FILES, "relaxed.extxyz", "dynamics.png"} <= {path.name for path in plan.out.iterdir()}
    assert not [path for path in plan.out.iterdir() if path.name.startswith(".")]


def test_metrics_are_finite_numbers_by_set_charge_and_ion(finished):
    plan, _, _ = finished
    found = json.loads((plan.out / "metrics.json").read_text())
    versions = found["training"].pop("versions")
    assert {"torch", "ase"} <= set(versions)
    assert all(np.isfinite(number) for number in numbers(found))
    assert found["training"]["frames"] == {"train": 80, "valid": 8, "test": 12}
    assert set(found["sets"]) == {"ag3", "nacl_cluster"}
    assert set(found["sets"]["ag3"]["by_total_charge"]) == {"+1", "-1"}
    assert found["sets"]["ag3"]["by_total_charge"]["+1"]["n_structures"] == 3
    for name in ("energy_rmse_mev_per_atom", "forces_rmse_mev_per_angstrom", "charges_rmse_me"):
        assert found["sets"]["nacl_cluster"][name] > 0
    for ion in ("Ag3+", "Ag3-"):
        assert 60 <= found["relaxed"][ion]["widest_angle_degrees"] <= 180
        assert abs(found["dynamics"][ion]["energy_drift_ev_per_atom_per_ps"]) < 1e-2  # an integrator at work


def test_trajectories_of_both_ions_share_start_and_velocities(finished):
    plan, listener, _ = finished
    frames = read(plan.out / "md.extxyz", ":")
    first, second = frames[: len(frames) // 2], frames[len(frames) // 2 :]
    assert [frame.info["charge"] for frame in frames] == [1] * len(first) + [-1] * len(second)
    assert [frame.info["time_fs"] for frame in first] == [0, 5, 10, 15]
    assert (first[0].positions == second[0].positions).all()
    assert (first[0].get_momenta() == second[0].get_momenta()).all()
    for frame in frames:
        # written with ten decimals
        assert frame.get_charges().sum() == pytest.approx(frame.info["charge"], abs=1e-8)
        assert np.isfinite(frame.get_potential_energy())
    assert len(listener.titles) == 2


def test_model_can_be_loaded_and_knows_both_charges(finished):
    plan, _, _ = finished
    assert load_model(plan.out / "model.safetensors").provenance["total_charges"] == [-1.0, 1.0]


def test_report_stands_alone_and_tells_the_angles(finished):
    plan, _, results = finished
    page = (plan.out / "report.html").read_text()
    for ion in results.ions:
        assert f"{ion.relaxed.angle:.1f}°" in page
    assert page.count("data:image/png;base64,") == 3
    assert not any(outside in page for outside in ("http:", "https:", "<script", "file:"))
    assert "$" not in page  # nothing was left to fill in


def test_a_folder_with_files_is_refused_and_left_alone(finished):
    plan, _, _ = finished
    before = {path: path.stat().st_mtime_ns for path in plan.out.iterdir()}
    with pytest.raises(ValueError, match=r"already holds files; give --overwrite"):
        quickstart(plan, "new", Listener())
    assert {path: path.stat().st_mtime_ns for path in plan.out.iterdir()} == before


def test_nothing_is_removed_under_a_quickstart_that_still_runs(finished):
    plan, _, _ = finished
    before = {path.name for path in plan.out.iterdir()}
    with alone(plan.out / "quickstart"), pytest.raises(BlockingIOError, match="is being written by another process"):
        quickstart(plan, "overwrite", Listener())
    assert {path.name for path in plan.out.iterdir()} == before
