from pathlib import Path

import pytest

from cace_qeq.training.config import DEFAULT_WEIGHTS, TrainingConfig, dump_config, load_config, parse_config

MINIMAL = {"data": {"train": "train.extxyz"}, "model": {"cutoff": 4.0}, "training": {"output": "run"}}


def with_change(section: str, **changes):
    return {**MINIMAL, section: {**MINIMAL.get(section, {}), **changes}}


STAGES = [{"name": "forces", "epochs": 3, "weights": {"forces": 1}}]


def test_written_configuration_reads_back_the_same(tmp_path):
    for change in {"weights": {"energy": 1, "charges": 2}}, {"stages": STAGES}:
        config = parse_config(with_change("training", **change), "test")
        (tmp_path / "config.yaml").write_text(dump_config(config))
        assert load_config(tmp_path / "config.yaml") == config


def test_overrides_are_read_as_yaml(tmp_path):
    (tmp_path / "config.yaml").write_text("data: {train: a.extxyz}\nmodel: {}\ntraining: {output: run}\n")
    config = load_config(
        tmp_path / "config.yaml",
        [
            "training.epochs=7",
            "data.valid=[b.extxyz, c.extxyz]",
            "training.weights.forces=2.5",
            "model.preset=S",
        ],
    )
    assert config.training.epochs == 7
    assert [path.name for path in config.data.valid] == ["b.extxyz", "c.extxyz"]
    assert config.training.weights.model_dump() == {**DEFAULT_WEIGHTS.model_dump(), "forces": 2.5}  # energy too
    assert config.model == {"preset": "S"}


@pytest.mark.parametrize(
    ("section", "changes", "message"),
    [
        ("training", {"epoch": 3}, r"training: unknown key 'epoch'; did you mean 'epochs'\?"),
        ("model", {"cutof": 4.0}, r"model: unknown key 'cutof'; did you mean 'cutoff'\?"),
        ("model", {"r_max": 4.0}, r"model: unknown key 'r_max'; did you mean 'cutoff'\?"),
        ("training", {"batch_size": 4}, r"training: unknown key 'batch_size'; did you mean 'batch_atoms'\?"),
        ("data", {"vaild": 0.1}, r"data: unknown key 'vaild'; did you mean 'valid'\?"),
        ("training", {"weights": {"force": 1}}, r"weights: unknown key 'force'; did you mean 'forces'\?"),
        ("training", {"weights": {"forces": 0}}, "all weights are zero"),
        ("training", {"epochs": 0}, r"training.epochs: .*greater than 0.*got 0"),
        ("training", {"learning_rate": float("nan")}, "training.learning_rate"),
        ("training", {"loss": "square"}, "training.loss"),
        ("training", {"reference_energies": "keep"}, "give start_from"),
        ("training", {"reference_energies": "average"}, "training.reference_energies: Input should be 'least_squares'"),
        ("training", {"huber_delta": 0.2}, "huber_delta has no effect with loss: squared; it is for huber"),
        ("training", {"plateau_patience": 5}, "no effect with schedule: cosine; it is for plateau"),
        ("training", {"schedule": "constant", "final_learning_rate": 0.1}, "no effect with schedule: constant"),
        ("training", {"stages": STAGES, "epochs": 50}, "epochs have no effect beside stages"),
        ("training", {"stages": STAGES, "weights": {"forces": 1}}, "weights have no effect beside stages"),
    ],
)
def test_errors_name_the_key_and_the_nearest_right_one(section, changes, message):
    with pytest.raises(ValueError, match=message):
        parse_config(with_change(section, **changes), "config.yaml")


def test_unknown_section_is_refused():
    with pytest.raises(ValueError, match=r"unknown key 'trainig'; did you mean 'training'\?"):
        parse_config({**MINIMAL, "trainig": {}}, "config.yaml")


@pytest.mark.parametrize(
    "override", ["epochs=3", "training.epochs", "=3", "data.train.first=3", "training.output=[foo"]
)
def test_malformed_overrides_are_refused(tmp_path, override):
    (tmp_path / "config.yaml").write_text("data: {train: a.extxyz}\nmodel: {}\ntraining: {output: run}\n")
    with pytest.raises(ValueError, match="override"):
        load_config(tmp_path / "config.yaml", [override])


def test_broken_yaml_names_the_file(tmp_path):
    (tmp_path / "config.yaml").write_text("data: [")
    with pytest.raises(ValueError, match="config.yaml: not valid YAML"):
        load_config(tmp_path / "config.yaml")


def test_every_setting_is_documented():
    page = (Path(__file__).parents[2] / "docs" / "howto" / "train.md").read_text()
    assert [name for name in TrainingConfig.model_fields if f"`{name}`" not in page] == []


def test_without_stages_there_is_one():
    (stage,) = parse_config(with_change("training", epochs=5), "test").training.all_stages
    assert stage.epochs == 5
    assert stage.weights.forces == 1


@pytest.mark.parametrize("valid", ["0", "1", "2.5", "[]", "-0.1", "true", "[0.1]", "null"])
def test_validation_frames_are_paths_or_a_fraction(tmp_path, valid):
    (tmp_path / "config.yaml").write_text("data: {train: a.extxyz}\nmodel: {}\ntraining: {output: run}\n")
    with pytest.raises(ValueError, match="data.valid: expected a path, a list of paths, or a fraction between 0 and 1"):
        load_config(tmp_path / "config.yaml", [f"data.valid={valid}"])


def test_keys_and_numbers_may_be_written_as_yaml_misreads_them(tmp_path):
    (tmp_path / "config.yaml").write_text(
        "data: {train: a.extxyz, valid: 1e-1, config_type_weights: {1: 2}}\nmodel: {}\n"
        "training: {output: run, reference_energies: {47: -100}}\n"
    )
    config = load_config(tmp_path / "config.yaml")
    assert config.data.valid == 0.1
    assert config.data.config_type_weights == {"1": 2}
    assert config.training.reference_energies == {"47": -100}


def test_a_key_that_stands_twice_is_refused(tmp_path):
    (tmp_path / "config.yaml").write_text("data: {train: a}\ntraining: {output: run, epochs: 2, epochs: 1}\n")
    with pytest.raises(ValueError, match=r"config.yaml: not valid YAML: the key 'epochs' stands twice"):
        load_config(tmp_path / "config.yaml")


def test_what_is_no_text_names_the_file(tmp_path):
    (tmp_path / "config.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="config.yaml: not valid YAML"):
        load_config(tmp_path / "config.yaml")


def test_a_total_charge_is_finite():
    with pytest.raises(ValueError, match="data.default_total_charge: .*finite"):
        parse_config(with_change("data", default_total_charge=float("inf")), "test")


def test_an_empty_section_takes_overrides(tmp_path):
    (tmp_path / "config.yaml").write_text("data: {train: a.extxyz, valid: b.extxyz}\nmodel:\ntraining: {output: run}\n")
    assert load_config(tmp_path / "config.yaml", ["model.cutoff=5"]).model == {"cutoff": 5}
