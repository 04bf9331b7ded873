"""Models that begin as others: nothing is lost, whatever the order of the elements, and new ones can be learned."""

import pytest
import torch
from ase.io import read, write

import zoo
from cace_qeq.checkpoint import load_model, save_model
from cace_qeq.model import CACEQEq
from cace_qeq.prediction import predict
from cace_qeq.structures import to_batch
from cace_qeq.training import fit
from cace_qeq.training.prepare import prepare
from cace_qeq.training.transfer import fresh_entries, grown_config, inherit
from small_models import untrained_model
from small_runs import small_config, trimers

EVERYTHING = {"environment_hardness": True, "closed_shells": True, "learn_widths": True, "repulsion": "screened"}
VARIANTS = [
    EVERYTHING | {"charge_feedback": "embedding", "layers": 2},
    {"charge_flow": "bonds", "message_rank": 1, "layers": 2, "widths": (0.5, 0.8, 0.7), "learn_hardness": False},
    {"energy": "none"},
]
ORDERS = [(1, 6, 8), (1, 6, 8, 79), (79, 8, 1, 17, 6)]


def of_ethanol(**changes):
    """Elements H, C, O."""
    model = untrained_model(zoo.ethanol(), **changes)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.startswith(("repulsion", "wiring.softness")):
                parameter.add_(0.1 * torch.rand(parameter.shape, generator=torch.Generator().manual_seed(1)))
    return model


@pytest.mark.parametrize("order", ORDERS, ids=str)
@pytest.mark.parametrize("changes", VARIANTS, ids=["everything", "bonds", "no charges"])
def test_nothing_changes_for_known_elements_in_any_order(changes, order):
    origin = of_ethanol(**changes)
    config = grown_config(origin.config, {"species": order}, (6, 1))
    model = CACEQEq(config).double().eval()
    inherit(model, origin)
    before, after = (predict(one, to_batch(zoo.ethanol(), one.geometry, 0.0)) for one in (origin, model))
    rounding = 0.0 if len(order) <= config.species_channels else 1e-13  # densities of elements are summed another way
    for name in ("energy", "forces", "charges"):
        found, expected = (getattr(one, name) for one in (after, before))
        torch.testing.assert_close(found, expected, rtol=rounding, atol=rounding, equal_nan=True, msg=name)


def test_entries_of_new_elements_are_those_of_a_new_model():
    origin = of_ethanol(**EVERYTHING)
    model = CACEQEq(grown_config(origin.config, {}, (79,))).double()
    start = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    inherit(model, origin)
    fresh = fresh_entries(model, origin.config.species)
    assert int(fresh["repulsion.strength"].sum()) == 7  # pairs with gold
    assert int(fresh["representation.embedding"].sum()) == model.config.species_channels
    for name, mask in fresh.items():
        assert torch.equal(model.state_dict()[name][mask], start[name][mask]), name


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"channels": 5}, "channels is 5, there 4"),
        ({"preset": "L"}, "channels is 128, there 4; message_rank"),
        ({"cutof": 5}, "cutof"),
        ({"widths": (0.3, 0.5, 0.5), "species": (1, 6, 8)}, "widths is"),
        ({"species": (1, 6)}, r"lacks \[8\]"),
        ({"preset": "XXL"}, "no preset 'XXL'"),
        ({"species": "HCO"}, "expected a list of symbols or atomic numbers"),
        ({"species": ["H", "C", 8.5]}, "expected a list of symbols or atomic numbers"),
        ({"species": ["H", "C", "Ox"]}, "'Ox' is not the symbol"),
    ],
)
def test_another_architecture_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        grown_config(of_ethanol().config, settings, (6, 1))


def test_elements_beyond_the_tables_are_named():
    origin = untrained_model(zoo.ethanol(), widths=(0.4, 0.7, 0.6))
    with pytest.raises(ValueError, match="species"):
        grown_config(origin.config, {}, (1, 8, 98))


def test_repeated_settings_do_not_contradict():
    origin = of_ethanol().config
    assert grown_config(origin, {"hidden": [8], "cutoff": 4}, (8,)) == origin


def test_elements_are_named_by_symbol_or_number():
    origin = of_ethanol().config
    assert grown_config(origin, {"species": ["Au", "H", 6, "O"]}, (79,)).species == (79, 1, 6, 8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model of silver, and frames in which one of three atoms is gold and 1000 eV lower."""
    folder = trimers(tmp_path_factory.mktemp("transfer"))
    fit(small_config(folder, "silver", epochs=2))
    for name in ("train", "valid"):
        frames = read(folder / f"{name}.extxyz", ":")
        for frame in frames:
            frame.numbers[0] = 79
            frame.info["REF_energy"] -= 1000.0
        write(folder / f"{name}.extxyz", frames)
    return folder


def gilded(folder, output, **training):
    settings = {"start_from": str(folder / "silver" / "model.safetensors"), "epochs": 10, **training}
    config = small_config(folder, output, **settings)
    return config.model_copy(update={"model": {}})


@pytest.mark.parametrize("choice", ["keep", "least_squares"])
def test_what_silver_has_learned_stays_and_gold_gets_its_energy(folder, choice):
    origin = load_model(folder / "silver" / "model.safetensors")
    model = prepare(gilded(folder, "prepared", reference_energies=choice)).model
    assert model.config.species == (47, 79)
    fresh = fresh_entries(model, (47,))
    for name, tensor in origin.state_dict().items():
        kept = model.state_dict()[name][~fresh[name]] if name in fresh else model.state_dict()[name]
        if name != "reference_energies" or choice == "keep":
            assert torch.equal(kept.flatten(), tensor.flatten()), name
    silver, gold = model.reference_energies.tolist()
    assert silver == pytest.approx(float(origin.reference_energies), abs=10)
    assert gold == pytest.approx(float(origin.reference_energies) - 1000, abs=50)
    assert model.charge_heads.hardness.raw[1] != CACEQEq(model.config).charge_heads.hardness.raw[1]  # fitted


def test_a_training_with_a_new_element_learns_and_resumes(folder):
    whole = fit(gilded(folder, "whole"))
    losses = [record["valid_loss"] for record in whole.history]
    assert losses[-1] < losses[0]
    fit(gilded(folder, "resumed", max_minutes=1e-6))  # one epoch, as no second one would end in time
    again = fit(gilded(folder, "resumed"), "resume")
    first, second = (load_model(outcome.folder.model).state_dict() for outcome in (whole, again))
    assert all(torch.equal(first[name], second[name]) for name in first)
    provenance = load_model(whole.folder.model).provenance
    assert provenance["started_from"]["frames"]["train"] == 12
    assert provenance["total_charges"] == [-1.0, 1.0]


def test_known_elements_need_not_occur_in_the_training_frames(folder, tmp_path):
    origin = load_model(folder / "silver" / "model.safetensors")
    grown = CACEQEq(grown_config(origin.config, {}, (79,)))
    save_model(grown, tmp_path / "both.safetensors")
    trimers(tmp_path)
    config = small_config(tmp_path, start_from=str(tmp_path / "both.safetensors"), reference_energies="keep")
    data = config.data.model_copy(update={"test": (folder / "valid.extxyz",)})
    prepared = prepare(config.model_copy(update={"model": {}, "data": data}))
    assert prepared.test[0].batch.numbers.unique().tolist() == [47, 79]


def test_a_run_does_not_replace_the_model_that_it_starts_from(folder):
    with pytest.raises(ValueError, match="this run would replace"):
        fit(gilded(folder, "silver"), "overwrite")
