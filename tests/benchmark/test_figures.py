"""What curves look like."""

from dataclasses import replace

from cace_qeq.benchmark.figures import Curve, Looks, draw
from cace_qeq.benchmark.runs import Finished, Run

RUN = Run("acac", "cace_qeq S", 1, 300.0)


def found(run: Run, frames: int = 450) -> Finished:
    history = [{"seconds": 15.0, "forces_rmse_mev_per_angstrom": 20.0}]
    result = {"errors": {"forces_rmse_mev_per_angstrom": 10.0}, "frames": frames, "history": history}
    return Finished(run, {**result, "seconds_per_atom": 1e-4})


def test_no_two_trainings_look_alike():
    runs = [replace(RUN, seconds=s, optimizer=o) for s in (30.0, 100.0, 300.0, 900.0) for o in ("adamw", "soap")]
    curves = [Curve.of(found(run)) for run in runs]
    looks = Looks.of([[found(run)] for run in runs], [found(run) for run in runs])
    seen = {(look["linestyle"], look["marker"]) for look in map(looks.of_curve, curves)}
    assert len(seen) == len(runs)
    assert len({looks.of_curve(curve)["color"] for curve in curves}) == 1


def test_sizes_of_a_code_are_points_of_one_curve_and_charges_make_another():
    small, large = (Curve.of(found(replace(RUN, subject=subject))) for subject in ("cace_qeq S", "cace_qeq L"))
    charged = Curve.of(found(replace(RUN, subject="cace_qeq S equilibrated")))
    assert small == large
    assert charged.code == "cace_qeq equilibrated"


def test_a_figure_for_each_set(tmp_path):
    runs = [found(RUN), found(replace(RUN, seed=2)), found(replace(RUN, frames=45), 45), found(replace(RUN, set="b"))]
    paths = draw(runs, tmp_path)
    assert [path.name for path in paths] == ["acac.png", "b.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)


def test_a_code_has_the_same_colour_in_every_figure():
    """Also where a set has codes that another has not."""
    subjects = {"acac": ["cace_qeq S", "mace 64x0e"], "water": ["cace_qeq S", "cace_qeq S equilibrated", "mace 64x0e"]}
    runs = [found(replace(RUN, set=name, subject=subject)) for name in subjects for subject in subjects[name]]
    looks = [Looks.of([[one] for one in runs if one.run.set == name], runs) for name in subjects]
    assert looks[0].color("mace") == looks[1].color("mace")
    assert [line.get_label() for line in looks[0].legend()][:2] == ["cace_qeq", "mace"]
