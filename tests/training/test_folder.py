import pytest

from cace_qeq.training.folder import RunFolder
from small_runs import small_config


@pytest.fixture
def config(tmp_path):
    return small_config(tmp_path)


@pytest.fixture
def folder(config):
    return RunFolder(config.training.output)


def test_a_new_folder_may_be_claimed(folder, config):
    folder.check(config, "new")
    folder.claim(config, "new")
    assert folder.config.exists()


@pytest.mark.parametrize("file", ["model.safetensors", "thesis.tex"])
def test_a_folder_that_holds_something_is_refused(folder, config, file):
    folder.path.mkdir()
    (folder.path / file).write_text("precious")
    with pytest.raises(ValueError, match="already holds files; .*--resume.*--overwrite"):
        folder.check(config, "new")


def test_a_file_is_no_folder(folder, config):
    folder.path.write_text("words")
    with pytest.raises(ValueError, match="is a file; choose a folder"):
        folder.check(config, "new")


def test_a_lock_that_a_killed_run_left_does_not_count(folder, config):
    folder.path.mkdir()
    (folder.path / ".run.lock").touch()
    folder.check(config, "new")


def test_overwriting_removes_the_files_of_a_run_only(folder, config):
    folder.claim(config, "new")
    for file in (folder.model, folder.path / "thesis.tex"):
        file.write_text("words")
    folder.check(config, "overwrite")
    folder.claim(config, "overwrite")
    assert not folder.model.exists()
    assert (folder.path / "thesis.tex").read_text() == "words"


def test_nothing_to_resume(folder, config):
    with pytest.raises(ValueError, match="holds no run to resume"):
        folder.check(config, "resume")


def test_a_resumed_run_has_the_same_settings(folder, config, tmp_path):
    folder.claim(config, "new")
    folder.check(config, "resume")
    folder.check(small_config(tmp_path, max_minutes=3, threads=1), "resume")
    places = config.data.model_copy(update={"train": (tmp_path / "elsewhere" / "train.extxyz",)})
    folder.check(config.model_copy(update={"data": places}), "resume")
    with pytest.raises(ValueError, match="other settings: training.epochs, training.seed;"):
        folder.check(small_config(tmp_path, epochs=7, seed=1), "resume")


@pytest.mark.parametrize("schedule", ["constant", "plateau"])
def test_epochs_may_be_added_where_the_schedule_does_not_count_them(folder, tmp_path, schedule):
    shorter, longer = (small_config(tmp_path, schedule=schedule, epochs=epochs) for epochs in (2, 5))
    folder.claim(longer, "new")
    with pytest.raises(ValueError, match="other settings: training.epochs;"):
        folder.check(shorter, "resume")
    folder.claim(shorter, "overwrite")
    folder.check(longer, "resume")


@pytest.mark.parametrize("name", ["model", "log"])
def test_a_run_without_its_state_does_not_begin_anew(folder, config, name):
    folder.claim(config, "new")
    getattr(folder, name).write_text("of a run")
    with pytest.raises(ValueError, match="without which it would begin anew"):
        folder.check(config, "resume")
