"""What accuracy asks beside errors."""

import numpy as np
import pytest
from ase import Atoms
from ase.io import read

from accuracy import CASES, CONFIGS, draw_curves, lonely_hydrogen, main, run_of, together
from cace_qeq import CACEQEqCalculator
from cace_qeq.training import load_config
from cace_qeq.training.prepare import model_config_of
from cace_qeq.training.reporting import Silent
from small_runs import small_config, trimers
from variants import outcomes


@pytest.mark.parametrize("name", ["neutral", "ion"])
def test_the_lonely_hydrogen_is_far_from_the_proton(name):
    heights = [0.0, 1.2, 2.4, 3.5]
    protons = [[0.9, 0, -0.5], [-0.9, 0, -0.5]] if name == "ion" else [[0, 0, -1.06]]
    positions = [*([0, 0, z] for z in heights), *protons]
    atoms = Atoms(["C", "C", "C", "H", *["H"] * len(protons)], positions)
    assert lonely_hydrogen(atoms) == 3


def test_models_of_several_seeds_answer_together(tmp_path, monkeypatch):
    monkeypatch.setattr(outcomes, "RichReporter", Silent)
    trimers(tmp_path)
    configs = [small_config(tmp_path, f"seed{seed}", seed=seed) for seed in (1, 2)]
    frames, forces = read(tmp_path / "valid.extxyz", ":"), []
    curves = {}
    for config in configs:
        curves[config.training.seed] = outcomes.trained(config)["validation"]
        calculator = CACEQEqCalculator(config.training.output / "model.safetensors")
        forces.append([calculator.get_property("forces", atoms) for atoms in frames])
    error = np.concatenate(np.mean(forces, axis=0)) - np.concatenate([atoms.arrays["REF_forces"] for atoms in frames])
    assert all(curve["epoch"] == [1, 2, 3] and min(curve["charges_rmse_me"]) > 0 for curve in curves.values())
    draw_curves(curves, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 1000
    found = together(configs)
    assert found["committee"]["forces_rmse_mev_per_angstrom"] == pytest.approx(1e3 * np.sqrt(np.mean(error**2)))
    assert found["spread"]["spread_forces_rms_mev_per_angstrom"] > 0


@pytest.mark.parametrize("name", CASES)
def test_every_case_has_a_configuration_of_its_own(name):
    config = load_config(CONFIGS / f"{name}.yaml")
    assert config.training.output.name == name
    assert model_config_of(config.model, (1,)).cutoff > 3


def test_the_configured_seed_is_the_run_without_seeds(tmp_path):
    config = small_config(tmp_path, "run", seed=3)
    assert run_of("ag3", config, 3) == ("ag3", config)
    name, other = run_of("ag3", config, 4)
    assert (name, other.training.seed, other.training.output.name) == ("ag3_seed4", 4, "run_seed4")


def test_unknown_names_are_refused_before_anything_is_trained():
    with pytest.raises(ValueError, match="there is no acac; choose from ag3"):
        main(["acac_S", "acac"])
