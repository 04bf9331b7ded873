"""Settings of a model: strict, frozen, clear about what is wrong."""

import pytest
from pydantic import ValidationError

from cace_qeq.config import PRESETS, ModelConfig


def test_defaults_need_only_species_and_cutoff():
    config = ModelConfig(species=[1, 8], cutoff=5.5)
    assert config.energy == "equilibrated"
    assert config.species == (1, 8)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_valid_and_can_be_changed(name):
    config = ModelConfig.preset(name, species=[1, 8], cutoff=4.0, energy="coulomb", channels=7)
    assert (config.energy, config.channels) == ("coulomb", 7)


def test_elements_are_named_by_symbols_too():
    assert ModelConfig(species=["O", 1], cutoff=4.0).species == (8, 1)


def test_unknown_preset_lists_the_known_ones():
    with pytest.raises(ValueError, match="XS, S, M, L, L4"):
        ModelConfig.preset("XXL", species=[1], cutoff=4.0)


def test_frozen():
    config = ModelConfig(species=[1], cutoff=4.0)
    with pytest.raises(ValidationError, match="frozen"):
        config.cutoff = 5.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cutof": 4.0}, "did you mean 'cutoff'"),
        ({"species": []}, "at least 1"),
        ({"species": [1, 1]}, "twice"),
        ({"species": [0]}, "not an atomic number"),
        ({"species": ["Hx"]}, "'Hx' is not the symbol"),
        ({"species": [120]}, "not an atomic number"),
        ({"cutoff": -1.0}, "greater than 0"),
        ({"energy": "qeq"}, "equilibrated"),
        ({"widths": [1.0, 1.0]}, "2 widths for 1 species"),
        ({"widths": [-1.0]}, "positive"),
        ({"message_rank": 2, "l_max": 1}, "raise l_max"),
        ({"quadrature_degree": 11}, "set message_rank"),
        ({"residual": True}, "residual is for equivariant messages"),
        ({"message_rank": 1, "compression": "asinh"}, "compression is for invariant messages"),
        ({"couplings": "paths", "body_order": 5}, "paths end at 4"),
        ({"widths": [float("nan")]}, "finite"),
        ({"hidden": [0]}, "greater than or equal to 1"),
        ({"energy": "none", "learn_widths": True}, "learn_widths is for charges"),
        ({"energy": "none", "learn_hardness": False}, "learn_hardness is for charges"),
        ({"environment_hardness": True, "learn_hardness": False}, "environment_hardness is learned"),
        ({"energy": "none", "widths": [0.5]}, "widths is for charges"),
        ({"energy": "none", "background": "gaussian"}, "background is for charges"),
        ({"energy": "none", "ewald_accuracy": 1e-6}, "ewald_accuracy is for charges"),
        ({"message_rank": 1, "layers": 1, "residual": True}, "residual joins two rounds"),
        ({"normalization": "rms"}, "set message_rank"),
        ({"energy": "none", "charge_feedback": "readout"}, "no charges to feed back"),
        ({"energy": "none", "closed_shells": True}, "no charges that closed_shells"),
        ({"energy": "none", "charge_flow": "bonds"}, "no charges that flow"),
    ],
)
def test_wrong_settings_say_what_is_wrong(changes, message):
    with pytest.raises(ValidationError, match=message):
        ModelConfig(**{"species": [1], "cutoff": 4.0, **changes})


def test_couplings_and_compression_shape_the_round_of_the_charges_too():
    changes = {"message_rank": 1, "charge_feedback": "embedding", "couplings": "paths", "compression": "asinh"}
    assert ModelConfig(species=[1], cutoff=4.0, **changes).couplings == "paths"
