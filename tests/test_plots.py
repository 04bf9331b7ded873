import numpy as np
import pytest

from cace_qeq.plots import density, plot_learning_curve, plot_over_time, plot_parity, plot_parity_of_sets
from cace_qeq.structures import PROPERTIES
from cace_qeq.training.metrics import Tally


def test_density_counts_every_point_once():
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(2, 5000))
    _, _, counts = density(x, y, -6.0, 6.0)
    assert counts.sum() == 5000
    assert (np.diff(counts) >= 0).all()


def test_parity_draws_every_property(tmp_path):
    values = {name: (np.arange(5.0), np.arange(5.0) + 0.1) for name in ("energy", "forces", "charges")}
    plot_parity(values, tmp_path / "parity.png")
    assert (tmp_path / "parity.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["parity.png"]


def test_parity_of_one_value_repeated(tmp_path):
    plot_parity({"energy": ([1.0, 1.0], [1.0, 1.0])}, tmp_path / "parity.svg")
    assert "<svg" in (tmp_path / "parity.svg").read_text()


@pytest.mark.parametrize("values", [{}, {"energy": ([1.0, 2.0], [1.0])}], ids=["nothing", "unequal"])
def test_parity_refuses(values, tmp_path):
    with pytest.raises(ValueError, match="at least one property|2 reference values but 1 predicted"):
        plot_parity(values, tmp_path / "parity.png")


def test_learning_curve_with_stages_and_gaps(tmp_path):
    first = {"epoch": 1, "stage": "charges", "train_loss": 2.0, "valid_loss": 2.0, "charges_rmse_me": 90.0}
    second = {"epoch": 2, "stage": "all", "train_loss": 1.0}
    third = {"epoch": 3, "stage": "all", "train_loss": 0.5, "valid_loss": 1.0, "charges_rmse_me": None}
    plot_learning_curve([first, second, third], tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 1000


def test_learning_curve_of_every_error_that_trainings_log(tmp_path):
    errors = {name: 1.0 for name in Tally.empty().metrics() if "_rmse_" in name}
    assert len(errors) == len(PROPERTIES)
    plot_learning_curve([{"epoch": 1, "stage": "", "train_loss": 1.0, **errors}], tmp_path / "curve.svg")
    assert (tmp_path / "curve.svg").read_text().count('id="axes_') == 1 + len(PROPERTIES)


def test_learning_curve_refuses_an_empty_history(tmp_path):
    with pytest.raises(ValueError, match="at least one finished epoch"):
        plot_learning_curve([], tmp_path / "curve.png")


def test_parity_of_sets_with_different_properties(tmp_path):
    one = {"energy": ([0.0, 1.0], [0.1, 0.9]), "forces": ([0.0, 1.0], [0.1, 0.9])}
    plot_parity_of_sets({"both": one, "energies": {"energy": one["energy"]}}, tmp_path / "parity.svg")
    assert (tmp_path / "parity.svg").read_text().count('id="axes_') == 4


def test_quantities_over_time_have_a_line_for_each_run(tmp_path):
    run = ([0.0, 5.0, 10.0], [60.0, 62.0, 61.0])
    plot_over_time({"angle (°)": {"Ag3+": run, "Ag3-": run}, "charge (e)": {"Ag3+": run}}, tmp_path / "time.svg")
    text = (tmp_path / "time.svg").read_text()
    assert text.count('id="axes_') == 2
    assert "angle (°)" in text
