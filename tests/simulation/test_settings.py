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
