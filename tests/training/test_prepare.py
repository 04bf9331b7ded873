import pytest
import torch
from ase.io import read, write

from cace_qeq.training import parse_config
from cace_qeq.training.prepare import model_config_of, prepare
from small_runs import small_config, small_values, trimers


def configured(folder, **changes):
    """The small configuration with `section__key=value` changed."""
    values = small_values(folder)
    for address, value in changes.items():
        section, key = address.split("__")
        values[section][key] = value
    return parse_config(values, "test")


def test_the_table_counts_labels_by_key(tmp_path):
    frames = read(trimers(tmp_path) / "train.extxyz", ":")
    for frame in frames[:3]:
        del frame.info["REF_energy"]
    write(tmp_path / "train.extxyz", frames)
    rows = {row.property: row for row in prepare(configured(tmp_path)).summary.rows}
    assert (rows["energy"].train, rows["energy"].valid) == (9, 4)
    assert rows["energy"].keys == {"REF_energy": 9}
    assert rows["forces"].values == 12 * 9
    assert rows["charges"].weights == (1.0,)
    assert rows["stress"].keys == {}


def test_the_summary_tells_total_charges(tmp_path):
    assert prepare(configured(trimers(tmp_path))).summary.total_charges == (-1.0, 1.0)


def test_a_weight_without_labels_is_refused(tmp_path):
    config = configured(trimers(tmp_path), training__weights={"stress": 1, "forces": 1})
    with pytest.raises(ValueError, match="weights.stress is 1.0, but no training frame has a label"):
        prepare(config)


def test_a_wrong_key_is_refused(tmp_path):
    config = configured(trimers(tmp_path), data__keys={"energy": "enrgy"})
    with pytest.raises(ValueError, match="data.keys: no frame has 'enrgy' as energy"):
        prepare(config)


def test_charges_of_a_model_without_any_are_refused(tmp_path):
    config = configured(trimers(tmp_path), model__energy="none")
    with pytest.raises(ValueError, match="weights.charges is 1.0, but a model with energy: none"):
        prepare(config)


def test_a_stage_that_cannot_be_validated_is_refused(tmp_path):
    frames = read(trimers(tmp_path) / "valid.extxyz", ":")
    for frame in frames:
        del frame.arrays["REF_charges"]
    write(tmp_path / "valid.extxyz", frames)
    stages = [{"name": "charges first", "epochs": 1, "weights": {"charges": 1}}]
    with pytest.raises(ValueError, match="stage 'charges first': no validation frame"):
        prepare(small_config(tmp_path, stages=stages))


def silent(path, indices):
    """Remove the charges of some frames, and their sum."""
    frames = read(path, ":")
    for index in indices:
        del frames[index].info["total_charge"], frames[index].arrays["REF_charges"]
    write(path, frames)


def test_a_total_charge_that_only_some_frames_state_is_an_error(tmp_path):
    silent(trimers(tmp_path) / "train.extxyz", [5])
    with pytest.raises(ValueError, match="train.extxyz, frame 5: no total charge, as in 1 of 16 frames"):
        prepare(configured(tmp_path))


def test_a_model_without_charges_does_not_ask_for_them(tmp_path):
    """Frames without a total charge, and charges that do not add up to it."""
    frames = read(trimers(tmp_path) / "train.extxyz", ":")
    del frames[5].info["total_charge"]
    frames[2].arrays["REF_charges"] += 0.1
    write(tmp_path / "train.extxyz", frames)
    config = configured(tmp_path, model__energy="none", training__weights={"energy": 1, "forces": 1})
    assert len(prepare(config).train) == len(frames)
    with pytest.raises(ValueError, match="frame 5: no total charge"):
        prepare(configured(tmp_path))


def test_without_any_total_charge_all_are_neutral(tmp_path):
    trimers(tmp_path)
    for name, count in (("train", 12), ("valid", 4)):
        silent(tmp_path / f"{name}.extxyz", range(count))
    prepared = prepare(configured(tmp_path, training__weights={"forces": 1}))
    assert any("without weight" not in note for note in prepared.summary.notes)
    assert prepared.model.provenance["total_charges"] == [0.0]


def test_elements_that_compositions_do_not_tell_apart_are_noted(tmp_path):
    frames = read(trimers(tmp_path) / "train.extxyz", ":")
    assert not any("compositions" in note for note in prepare(configured(tmp_path)).summary.notes)
    for frame in frames:
        frame.numbers[:] = [47, 79, 79]
    write(tmp_path / "train.extxyz", frames)
    valid = read(tmp_path / "valid.extxyz", ":")
    for frame in valid:
        frame.numbers[:] = [47, 79, 79]
    write(tmp_path / "valid.extxyz", valid)
    (note,) = prepare(configured(tmp_path)).summary.notes
    assert "1 independent compositions for 2 elements" in note
    known = configured(tmp_path, training__reference_energies={"Ag": -1.0, "Au": -2.0})
    assert not prepare(known).summary.notes


def test_labels_that_are_not_trained_on_are_noted(tmp_path):
    trimers(tmp_path)
    (note,) = prepare(configured(tmp_path, training__weights={"forces": 1})).summary.notes
    assert note.startswith("energy and charges: labelled, but without weight")
    without = configured(tmp_path, model__energy="none", training__weights={"energy": 1, "forces": 1})
    assert not prepare(without).summary.notes


def test_frames_without_weight_are_not_counted(tmp_path):
    trimers(tmp_path)
    frames = read(tmp_path / "train.extxyz", ":")
    frames[0].info |= {"config_weight": 2.0, "config_energy_weight": 0.0}
    write(tmp_path / "train.extxyz", frames)
    prepared = prepare(configured(tmp_path))
    assert prepared.summary.rows[0].train == len(frames) - 1


def test_the_seed_alone_decides_the_parameters(tmp_path):
    trimers(tmp_path)
    state = torch.random.get_rng_state()
    first, again, other = (prepare(configured(tmp_path, training__seed=seed)).model.state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_species_come_from_the_data_or_must_cover_it():
    assert model_config_of({"preset": "S", "cutoff": 4.0}, (1, 8)).species == (1, 8)
    assert model_config_of({"cutoff": 4.0, "species": ["O", 1, "C"]}, (1, 8)).species == (8, 1, 6)
    with pytest.raises(ValueError, match="model: species: 'Hx' is not the symbol"):
        model_config_of({"cutoff": 4.0, "species": ["Hx"]}, (1,))
    assert model_config_of({"cutoff": 4.0, "species": [8, 1, 6]}, (1, 8)).species == (8, 1, 6)
    with pytest.raises(ValueError, match=r"model.species \[8\] lacks \[1\]"):
        model_config_of({"cutoff": 4.0, "species": [8]}, (1, 8))


def test_model_errors_name_the_field():
    with pytest.raises(ValueError, match="model: cutoff: .*greater than 0"):
        model_config_of({"cutoff": -1.0}, (1,))


def test_provenance_tells_files_and_settings(tmp_path):
    provenance = prepare(configured(trimers(tmp_path))).model.provenance
    assert provenance["frames"] == {"train": 12, "valid": 4, "test": 0}
    assert provenance["total_charges"] == [-1.0, 1.0]
    assert [len(file["sha256"]) for file in provenance["files"]] == [64, 64]
    assert torch.__version__.startswith(provenance["versions"]["torch"].split("+")[0])
    assert provenance["settings"]["training"]["epochs"] == 3
    assert provenance["seed"] == 0


def test_a_wrong_key_of_the_total_charge_is_refused(tmp_path):
    """Otherwise all frames would be taken as neutral."""
    config = configured(trimers(tmp_path), data__keys={"total_charge": "Qtot"})
    with pytest.raises(ValueError, match="no frame has 'Qtot' as total_charge"):
        prepare(config)
