"""Results become rows: seeds are averaged, everything else is kept apart."""

import json
from dataclasses import asdict, replace

import pytest

from cace_qeq.benchmark.report import grouped, markdown, spread
from cace_qeq.benchmark.runs import Finished, Run, finished

RUN = Run("acac", "cace_qeq S", 1, 300.0)


def result(forces: float, **changes: float) -> dict:
    errors = {"total_energy_rmse_mev": 3.0, "energy_rmse_mev_per_atom": 0.2, "forces_rmse_mev_per_angstrom": forces}
    errors["forces_mae_mev_per_angstrom"] = forces / 2
    times = {"seconds_per_atom": 2e-6, "peak_memory_mb": 400.0, "training_seconds": 300.02, "steps": 900}
    return {"errors": errors, "frames": 450, "parameters": 1000, "history": [], **times, **changes}


def test_names_tell_runs_apart():
    runs = [RUN, replace(RUN, seed=2), replace(RUN, frames=45), replace(RUN, subject="nequip S"), replace(RUN, set="b")]
    runs += [replace(RUN, cutoff=4.0), replace(RUN, batch=10), replace(RUN, seconds=30.0)]
    runs += [replace(RUN, learning_rate=0.02), replace(RUN, optimizer="soap"), replace(RUN, seconds=0, epochs=300)]
    assert len({run.name for run in runs}) == len(runs)
    assert RUN.name == "acac_cace_qeq-S_300s_seed1"
    assert replace(RUN, seconds=0, epochs=80).name == "acac_cace_qeq-S_80epochs_seed1"
    assert replace(RUN, cutoff=4.0, batch=10).name == "acac_cace_qeq-S_cutoff-4_batch-10_300s_seed1"


def test_the_usual_learning_rate_is_left_unsaid():
    assert replace(RUN, learning_rate=0.005) == RUN
    assert replace(RUN, subject="nequip S", learning_rate=0.02).label == "nequip S, rate 0.02"
    with_soap = replace(RUN, subject="nequip S", optimizer="soap")
    assert with_soap.rate == 0.03
    assert replace(with_soap, learning_rate=0.01).label == "nequip S, soap, rate 0.01"
    with pytest.raises(ValueError, match="learning rate -1"):
        replace(RUN, learning_rate=-1.0)


def test_mean_and_spread_over_seeds():
    assert spread([10.0, 14.0]) == "12 ± 2.8"
    assert spread([10.0]) == "10"
    assert spread([]) == "–"


def test_seeds_share_a_row():
    members = [Finished(RUN, result(10.0)), Finished(replace(RUN, seed=2), result(14.0))]
    members.append(Finished(replace(RUN, subject="nequip S"), result(20.0)))
    lines = markdown(members).splitlines()
    assert len(lines) == 4  # head, rule and two rows
    assert "| 3 ± 0 | 0.2 ± 0 | 12 ± 2.8 | – | – | – | – | 6 ± 1.4 | 300 s | 300 | 900 | 2 ± 0 | 400 | 2 |" in lines[2]
    assert len({line.count("|") for line in lines}) == 1


def test_errors_on_frames_that_chose_the_weights_are_marked():
    (head, _, line) = markdown([Finished(RUN, result(10.0), "valid")]).splitlines()
    assert line.startswith("| acac (validation) | 450 |")


def test_budgets_frames_and_settings_are_kept_apart():
    members = [Finished(RUN, result(10.0)), Finished(replace(RUN, seconds=30.0), result(30.0))]
    members.append(Finished(replace(RUN, frames=45), result(50.0, frames=45)))
    members += [Finished(replace(RUN, cutoff=4.0), result(20.0)), Finished(replace(RUN, batch=10), result(40.0))]
    members.append(Finished(replace(RUN, seconds=0, epochs=300), result(10.0)))
    assert len(grouped(members)) == 6


def test_a_training_counts_once_however_its_frames_were_asked_for():
    members = [Finished(RUN, result(10.0)), Finished(replace(RUN, frames=450), result(10.0))]
    (group,) = grouped(members).values()
    assert len(group) == 1


def test_results_are_read_back(tmp_path):
    values = {**asdict(RUN), "learning_rate": 0.005}
    (tmp_path / "one.json").write_text(json.dumps({"run": values, "result": result(10.0)}))
    (found,) = finished(tmp_path)
    assert found.run == RUN
    assert found.errors["forces_rmse_mev_per_angstrom"] == 10.0


UNFINISHED = json.dumps({"run": asdict(RUN), "result": {"errors": {}}})


@pytest.mark.parametrize("content", ["{", '{"items": {}}', '{"run": {"set": "acac"}, "result": {}}', UNFINISHED])
def test_other_files_are_named(tmp_path, content):
    (tmp_path / "other.json").write_text(content)
    with pytest.raises(ValueError, match=r"other\.json is no result"):
        list(finished(tmp_path))


@pytest.mark.parametrize(
    ("subject", "weight"),
    [
        ("cace_qeq S equilibrated", 5.0),
        ("cace_qeq equivalent coulomb", 5.0),
        ("cace_qeq S none", 0.0),
        ("cace_qeq S compiled", 0.0),
        ("cace_qeq S", 0.0),
        ("nequip S", 0.0),
    ],
)
def test_charges_are_fitted_by_models_that_have_them(tmp_path, subject, weight):
    plan = replace(RUN, subject=subject).plan({"train": []}, ["H"], tmp_path / "state.pt")
    assert plan["charge_weight"] == weight


@pytest.mark.parametrize(
    "subject", ["cace_qeq", "cace_qeq  S", "cace_qeq XXL", "cace_qeq S qeq", "cace_qeq S none coulomb"]
)
def test_models_of_our_own_that_do_not_exist_are_refused_at_once(subject):
    with pytest.raises(ValueError, match="expected cace_qeq and one of XS, S, M, L, L4 or equivalent"):
        replace(RUN, subject=subject)
