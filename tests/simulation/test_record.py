"""Samples on disk and in summary."""

import numpy as np
import pytest

from cace_qeq.simulation import Sample, read_log
from cace_qeq.simulation.record import HEADER, row, summarize, write_log


def samples(n=11, slope=0.0, ripple=0.0, ensemble_volume=np.nan):
    """Every 100 fs; total energy 8 eV plus slope in eV/ps plus a ripple."""
    return [
        Sample(
            step=10 * k,
            time=100.0 * k,
            potential_energy=-1.0 / 3,
            kinetic_energy=2.0,
            total_energy=8.0 + slope * 0.1 * k + ripple * (-1) ** k,
            temperature=300.0 + k,
            volume=ensemble_volume,
            pressure=np.nan,
            dipole=0.5,
            lowest_charge=-0.25,
            highest_charge=0.75,
        )
        for k in range(n)
    ]


def test_drift_is_the_slope_per_atom():
    summary = summarize(samples(slope=0.04), n_atoms=4, ensemble="nve")
    assert summary.energy_drift == pytest.approx(0.01, rel=1e-9)  # eV/atom/ps
    assert summary.energy_fluctuation == pytest.approx(0, abs=1e-12)
    assert (summary.n_steps, summary.time, summary.temperature) == (100, 1.0, 305.0)


def test_fluctuation_is_what_the_line_leaves():
    summary = summarize(samples(n=1001, slope=0.04, ripple=0.2), n_atoms=4, ensemble="nve")
    assert summary.energy_drift == pytest.approx(0.01, rel=1e-3)
    assert summary.energy_fluctuation == pytest.approx(0.05, rel=1e-3)


@pytest.mark.parametrize(("n", "ensemble"), [(11, "nvt"), (11, "npt"), (2, "nve"), (1, "nve")])
def test_no_drift_where_it_means_nothing(n, ensemble):
    assert np.isnan(summarize(samples(n), n_atoms=4, ensemble=ensemble).energy_drift)


def test_logs_come_back(tmp_path):
    write_log(tmp_path / "md.csv", samples())
    with (tmp_path / "md.csv").open("a") as file:
        file.write(row(samples(12)[-1]))
    again = read_log(tmp_path / "md.csv")
    assert len(again) == 12
    for one, other in zip(again, samples(12), strict=True):
        np.testing.assert_allclose(list(vars(one).values()), list(vars(other).values()), rtol=1e-11)


def test_a_row_that_was_cut_off_is_left_out(tmp_path):
    write_log(tmp_path / "md.csv", samples())
    text = (tmp_path / "md.csv").read_text()
    for missing in (1, 2, 30):
        (tmp_path / "md.csv").write_text(text[:-missing])
        assert [one.step for one in read_log(tmp_path / "md.csv")][-1] == 90


def test_damaged_logs_are_refused(tmp_path):
    write_log(tmp_path / "md.csv", [*samples(3), *samples(3)])
    with pytest.raises(ValueError, match="do not increase, as if two runs had written it"):
        read_log(tmp_path / "md.csv")
    for damage in ("x", "1,2", "1,2,3,4,5,6,7,8,9,10,eleven"):
        (tmp_path / "md.csv").write_text(f"{HEADER}\n{damage}\n")
        with pytest.raises(ValueError, match=f"md.csv: '{damage}' is no row of a log"):
            read_log(tmp_path / "md.csv")


def test_logs_without_the_last_column_are_read_too(tmp_path):
    """Of versions that did not write it."""
    write_log(tmp_path / "md.csv", samples())
    lines = (tmp_path / "md.csv").read_text().splitlines()
    (tmp_path / "md.csv").write_text("".join(line.rpartition(",")[0] + "\n" for line in lines))
    assert len(read_log(tmp_path / "md.csv")) == 11
    (tmp_path / "md.csv").write_text("step\n0\n")
    with pytest.raises(ValueError, match="is not the log of a run"):
        read_log(tmp_path / "md.csv")


def test_the_header_names_units(tmp_path):
    write_log(tmp_path / "md.csv", [])
    header = (tmp_path / "md.csv").read_text().strip().split(",")
    assert len(header) == len(Sample.__annotations__)
    assert all(column.startswith(name) for column, name in zip(header, Sample.__annotations__, strict=True))
