"""The registry finds what is there, says where the rest comes from, and takes no other file for the one."""

import hashlib

import pytest

from cace_qeq.benchmark.datasets import REGISTRY, SETS, DataSet, File, dataset, state
from record import DATA

CONTENT = b"frames"
SHA = hashlib.sha256(CONTENT).hexdigest()
MADE_UP = DataSet("made_up", "folder", "MIT", "theory", "there.org", "as it is", (File("train", "a.extxyz", SHA),))


@pytest.fixture
def data(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.extxyz").write_bytes(CONTENT)
    return tmp_path


def test_a_right_file_is_found(data):
    assert MADE_UP.paths("train", data) == (data / "folder" / "a.extxyz",)
    assert MADE_UP.paths("test", data) == ()
    assert state(MADE_UP, data) == "there"


def test_a_missing_file_names_its_source(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there\.org"):
        MADE_UP.paths("train", tmp_path)
    assert state(MADE_UP, tmp_path) == "missing"


def test_a_changed_file_is_refused(data):
    (data / "folder" / "a.extxyz").write_bytes(b"other frames")
    with pytest.raises(ValueError, match="SHA-256"):
        MADE_UP.paths("train", data)
    assert state(MADE_UP, data) == "another file"


def test_names_are_unique_and_others_refused():
    assert len(REGISTRY) == len(SETS)
    with pytest.raises(ValueError, match="water_pbe0ts"):
        dataset("water")


@pytest.mark.parametrize("found", SETS, ids=lambda found: found.name)
def test_every_set_says_what_it_is(found):
    assert all((found.licence, found.level, found.source, found.split))
    assert {file.part for file in found.files} >= {"train", "valid"}
    assert found.own or all(file.sha256 and len(file.sha256) == 64 for file in found.files)


@pytest.mark.parametrize("found", [found for found in SETS if found.own], ids=lambda found: found.name)
def test_own_sets_are_there(found, tmp_path):
    assert state(found, tmp_path) == "there"


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the downloaded sets beside the checkout")
def test_downloaded_sets_are_the_frozen_ones():
    assert {found.name: state(found, DATA) for found in SETS} == dict.fromkeys(REGISTRY, "there")
