"""Settings refuse what cannot be meant."""

import pytest
from pydantic import ValidationError

from cace_qeq.simulation import DynamicsSettings, RelaxationSettings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_steps", -1),
        ("ensemble", "nph"),
        ("timestep", 0),
        ("temperature", 0),
        ("friction", -1),
        ("barostat_time", 0),
        ("interval", 0),
        ("seed", -1),
        ("pressure", float("nan")),
        ("friction", float("inf")),
    ],
)
def test_impossible_dynamics(name, value):
    with pytest.raises(ValidationError, match=name):
        DynamicsSettings(**{"n_steps": 1, name: value})


def test_nearly_right_names():
    with pytest.raises(ValidationError, match="did you mean 'temperature'"):
        DynamicsSettings(n_steps=1, temperatur=300)
    with pytest.raises(ValidationError, match="did you mean 'largest_force'"):
        RelaxationSettings(large_force=0.1)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (DynamicsSettings, {"friction": 3.0}, "friction has no effect at constant energy"),
        (DynamicsSettings, {"pressure": 5000.0}, "pressure has no effect at constant energy"),
        (DynamicsSettings, {"ensemble": "nvt", "cell": "flexible"}, "cell has no effect at constant volume"),
        (RelaxationSettings, {"pressure": 5000.0}, "pressure has no effect on a fixed cell"),
    ],
    ids=str,
)
def test_options_without_effect_are_refused(kind, options, message):
    lengths = {"n_steps": 1} if kind is DynamicsSettings else {}
    with pytest.raises(ValueError, match=message):
        kind(**lengths, **options)
