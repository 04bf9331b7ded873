"""Where the relaxation of gold on the oxide starts."""

import numpy as np
import pytest
from ase import Atoms

from wetting import orientation_of, start


def on_oxide(tilt: float, height: float, energy: float) -> Atoms:
    bond = 2.5 * np.array([np.sin(tilt), 0.0, np.cos(tilt)])
    atoms = Atoms("MgAu2", [[0, 0, height], [0, 0, 3], [0, 0, 3] + bond], cell=[20.0] * 3, pbc=True)
    atoms.info["REF_energy"] = energy
    return atoms


def test_gold_starts_from_its_best_frame_on_the_mean_substrate():
    frames = [on_oxide(0.1, 0.2, -1.0), on_oxide(0.0, 0.0, -2.0), on_oxide(1.5, 0.4, -3.0)]
    assert [orientation_of(frame) for frame in frames] == ["upright", "upright", "flat"]
    atoms = start(frames, "pure", "upright")
    assert atoms.positions[1:] == pytest.approx(frames[1].positions[1:])
    assert atoms.positions[0] == pytest.approx([0, 0, 0.2])
    assert atoms.constraints[0].index.tolist() == [0]
