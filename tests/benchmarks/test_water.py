"""What is told of liquid water, on copper."""

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.calculators.emt import EMT

import water


@pytest.fixture
def copper(monkeypatch):
    monkeypatch.setitem(water.LENGTHS, "npt", 0.1)
    monkeypatch.setattr(water, "DISCARDED", 0.02)
    atoms = bulk("Cu", cubic=True) * 2
    spread = np.sqrt(units.kB * 300 * atoms.get_masses())[:, None]
    atoms.set_momenta(spread * np.random.default_rng(0).normal(size=(len(atoms), 3)))
    atoms.calc = EMT()
    return atoms


def test_constant_pressure_conserves_its_quantity(copper, tmp_path):
    found = water.at_constant_pressure(copper, tmp_path)
    assert found["picoseconds"] == pytest.approx(0.1)
    assert abs(found["conserved_drift_ev_per_atom_per_ps"]) < 1e-3
    assert found["conserved_fluctuation_ev_per_atom"] < 1e-4
    assert 50 < found["temperature_k"] < 400
    assert found["density_grams_per_cc"] == pytest.approx(8.9, abs=0.3)
    written = (tmp_path / "npt.csv").read_text()
    assert len(written.splitlines()) == 1 + water.steps("npt") // water.INTERVAL + 1
    assert water.at_constant_pressure(copper, tmp_path) == found  # of the log, without running again
    assert (tmp_path / "npt.csv").read_text() == written


def test_figure_of_runs(copper, tmp_path, monkeypatch):
    """Of distribution functions above, energy, temperature and volume below."""
    drawn = []
    monkeypatch.setattr(water, "FIGURE", tmp_path / "water.png")
    monkeypatch.setattr(water, "save", lambda figure, path: drawn.append((figure, path)))
    monkeypatch.setitem(water.LENGTHS, "nve", 0.1)
    water.at_constant_pressure(copper, tmp_path)
    water.moved(copper, "nve", tmp_path)
    flat = {"-".join(pair): [1.0] * water.BINS for pair in water.PAIRS}
    water.draw({"model": flat, "snapshots": flat}, len(copper), tmp_path)
    ((figure, path),) = drawn
    assert path == tmp_path / "water.png"
    energy, temperature, volume = [axis.lines[0].get_xydata() for axis in figure.axes[3:]]
    np.testing.assert_allclose(energy[:, 0], temperature[:, 0])
    assert energy[0].tolist() == [0, 0] and energy[-1, 0] == pytest.approx(0.1)
    assert abs(energy[:, 1]).max() < 1000  # µeV per atom
    assert 50 < temperature[:, 1].mean() < 400
    assert volume[0, 1] == pytest.approx(3.61**3 * 8, rel=1e-3)


def test_radial_distribution_of_a_crystal(monkeypatch):
    """Nothing before the nearest neighbours, and twelve of them under the first peak."""
    monkeypatch.setattr(water, "PAIRS", (("Cu", "Cu"),))
    atoms = bulk("Cu", cubic=True) * 4
    (g,) = water.radial([atoms]).values()
    width = water.FARTHEST / water.BINS
    centers = width * (np.arange(water.BINS) + 0.5)
    shells = np.array(g) * 4 * np.pi * centers**2 * width * len(atoms) / atoms.get_volume()
    nearest = atoms.cell.lengths()[0] / 4 / np.sqrt(2)
    assert shells[centers < nearest - 0.1].sum() == 0
    assert shells[abs(centers - nearest) < 0.2].sum() == pytest.approx(12, rel=0.02)
