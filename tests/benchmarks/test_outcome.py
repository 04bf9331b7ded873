"""Answers of the timing processes become medians, slopes and verdicts."""

import pytest

from speed.goals import Goal
from speed.outcome import Record, add_bandwidths, judgement, milliseconds, slope


def record() -> Record:
    found = Record()
    about = {"unit": "ms", "atoms": 100, "frames": 4}
    found.add("forces", about, "ours", "default", {"value": 20.0})
    found.add("forces", about, "ours", "tuned", {"value": 10.0})
    found.add("forces", about, "theirs", "default", {"value": 100.0})
    found.add("memory", {"unit": "kB per atom"}, "ours", "default", {"value": 70.0})
    return found


def test_medians_over_all_turns():
    found = milliseconds([{"cpu": [0.5, 0.001], "wall": [0.6, 0.002]}, {"cpu": [0.003], "wall": [0.004]}])
    assert found == pytest.approx({"value": 3.0, "wall": 4.0, "smallest": 1.0, "calls": 3})


def test_on_a_gpu_time_is_that_on_the_clock():
    found = milliseconds([{"cpu": [0.001, 0.002], "wall": [0.004, 0.006]}], "cuda")
    assert found == pytest.approx({"value": 5.0, "cpu": 1.5, "smallest": 4.0, "calls": 2})


def test_share_of_bandwidth_where_traffic_is_known():
    found = record()
    found.items["forces"]["subjects"]["ours"]["default"]["bytes"] = 3e9
    add_bandwidths(found, copied=300e9)
    assert found.items["forces"]["subjects"]["ours"]["default"]["share_of_bandwidth"] == pytest.approx(0.5)
    assert "share_of_bandwidth" not in found.items["forces"]["subjects"]["theirs"]["default"]


def test_slope_of_a_line_is_exact():
    assert slope([100, 200, 400], [1100.0, 1150.0, 1250.0]) == pytest.approx((0.5, 1050.0))


def test_values_are_kept_apart_by_allocator():
    assert record().values("default")["forces", "ours"] == 20.0
    assert record().values("tuned") == pytest.approx({("forces", "ours"): 10.0, ("forces/atom", "ours"): 0.025})


def test_time_per_atom_counts_all_frames():
    assert record().values("default")["forces/atom", "theirs"] == pytest.approx(100.0 / 400)


def test_memory_has_no_time_per_atom():
    assert ("memory/atom", "ours") not in record().values("default")


def test_met_means_met_under_every_allocator():
    goal = Goal("step", ("forces", "ours"), 1 / 5, ("forces", "theirs"))
    fifth, third = {goal.measured: 20.0, goal.reference: 100.0}, {goal.measured: 30.0, goal.reference: 90.0}
    values = {"default": fifth, "tuned": third}
    assert judgement(goal, values)["met"] is False
    assert judgement(goal, {"default": values["default"]})["met"] is True
    assert judgement(goal, {"default": {}})["met"] is None
