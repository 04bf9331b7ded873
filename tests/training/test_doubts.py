"""Notes on frames that can be trained on and should be looked at."""

from ase.io import read, write

from cace_qeq.training import fit, parse_config
from cace_qeq.training.prepare import prepare
from small_runs import small_config, small_values, trimers


def notes(folder, **data):
    values = small_values(folder)
    return " ".join(prepare(parse_config({**values, "data": {**values["data"], **data}}, "test")).summary.notes)


def changed(folder, name, change, n_frames=None):
    frames = read(folder / f"{name}.extxyz", ":")[:n_frames]
    for frame in frames:
        change(frame)
    write(folder / f"{name}_changed.extxyz", frames)
    return str(folder / f"{name}_changed.extxyz")


def test_nothing_is_said_of_ordinary_frames(tmp_path):
    assert not any(
        word in notes(trimers(tmp_path))
        for word in ("validation frame", "repeat", "eV/atom", "starts from", "neighbour")
    )


def test_labels_that_only_training_frames_have(tmp_path):
    def silent(frame):
        frame.info["dft"] = frame.info.pop("REF_energy")

    folder = trimers(tmp_path)
    assert "energy: trained on, but no validation frame has labels" in notes(
        folder, valid=changed(folder, "valid", silent)
    )


def test_frames_that_stand_twice_or_in_both_files(tmp_path):
    folder = trimers(tmp_path)
    both = [str(folder / "train.extxyz"), changed(folder, "train", lambda frame: None)]
    found = notes(folder, train=both, valid=both[0])
    assert "12 training frames repeat others" in found
    assert "12 of 12 validation frames are training frames too" in found


def test_a_file_that_is_named_twice_is_meant_to_count_twice(tmp_path):
    folder = trimers(tmp_path)
    assert "repeat" not in notes(folder, train=[str(folder / "train.extxyz")] * 2)


def test_a_cutoff_without_neighbours(tmp_path):
    values = small_values(trimers(tmp_path))
    values["model"]["cutoff"] = 0.5
    assert "neighbour within model.cutoff, 0.5 Å" in " ".join(prepare(parse_config(values, "test")).summary.notes)


def test_another_total_charge_is_another_frame(tmp_path):
    def charged(frame):
        frame.info["total_charge"] = 3 - frame.info.get("total_charge", 0)
        del frame.arrays["REF_charges"]

    folder = trimers(tmp_path)
    other = changed(folder, "train", charged)
    assert "repeat" not in notes(folder, train=[str(folder / "train.extxyz"), other])


def test_energies_in_another_unit(tmp_path):
    def in_hartree(frame):
        frame.info["REF_energy"] /= 27.2114

    folder = trimers(tmp_path)
    found = notes(folder, train=changed(folder, "train", in_hartree))
    assert "Energies of the validation frames are" in found
    assert "other units, or another method?" in found


def test_a_model_to_start_from_is_named(tmp_path):
    folder = trimers(tmp_path)
    origin = fit(small_config(folder, "first", epochs=1)).folder.model
    config = small_config(folder, "second", start_from=str(origin))
    summary = prepare(config).summary
    assert f"Training starts from {origin}; no new element; total charges that it has seen: " in summary.notes[0]
