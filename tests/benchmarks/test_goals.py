"""Goals are judged by the numbers that they name."""

import pytest

from speed.goals import GOALS, Goal
from speed.plan import ITEMS, MEMORY_ITEMS

FASTER = Goal("step", ("forces", "ours"), 1 / 5, ("forces", "theirs"))


def test_a_fifth_is_met_at_a_fifth():
    values = {("forces", "ours"): 20.0, ("forces", "theirs"): 100.0}
    assert FASTER.reached(values) == pytest.approx(0.2)
    assert FASTER.met(values)


def test_a_quarter_is_no_fifth():
    assert FASTER.met({("forces", "ours"): 25.0, ("forces", "theirs"): 100.0}) is False


@pytest.mark.parametrize("known", [("forces", "ours"), ("forces", "theirs")])
def test_nothing_is_said_of_what_was_not_measured(known):
    assert FASTER.met({known: 1.0}) is None


def test_a_limit_needs_no_other():
    assert Goal("memory", ("memory", "ours"), 80.0).met({("memory", "ours"): 79.0})


def test_wording_names_peer_and_factor():
    assert FASTER.wording == "≤ 1/5 theirs"
    assert Goal("double", ("double", "ours"), 1.8, ("single", "ours")).wording == "≤ 1.8 × ours, single"
    assert Goal("memory", ("memory", "ours"), 80.0).wording == "≤ 80"


def test_every_goal_compares_what_is_measured():
    measured = {(item.name, subject) for item in (*ITEMS, *MEMORY_ITEMS) for subject in item.subjects}
    measured |= {(f"{name}/atom", subject) for name, subject in measured}
    measured |= {("memory_largest", item.largest) for item in MEMORY_ITEMS if item.largest}
    for goal in GOALS:
        assert goal.measured in measured
        assert goal.reference is None or goal.reference in measured
