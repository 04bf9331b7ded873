"""The registry finds what is there, says where the rest comes from, and takes no other file for the one."""

import hashlib
from dataclasses import replace

import pytest
from ase.io import read, write

from cace_qeq.benchmark.datasets import REGISTRY, SETS, dataset, state
from cace_qeq.benchmark.frozen import Content, DataSet, File
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


@pytest.fixture
def trimers(tmp_path):
    """A file as others would write it, and what it should hold."""
    (path,) = dataset("ag3").paths("valid", tmp_path)
    frames = read(path, ":")
    for atoms in frames:
        atoms.positions += 7.0
    write(tmp_path / "valid.extxyz", frames[::-1])
    return tmp_path / "valid.extxyz", File("valid", "valid.extxyz", SHA, Content.of(path))


def test_the_same_frames_in_another_file_are_taken(trimers):
    path, file = trimers
    assert file.is_at(path)
    assert not replace(file, content=None).is_at(path)


@pytest.mark.parametrize(
    "change", ["fewer", "energy", "forces", "positions", "charges", "total charge", "cell", "unlabelled", "no frames"]
)
def test_other_frames_are_refused(trimers, change):
    path, file = trimers
    frames = read(path, ":")
    if change == "energy":
        frames[3].info["REF_energy"] += 0.02
    elif change == "forces":
        frames[3].arrays["REF_forces"] *= 1.01
    elif change == "positions":
        frames[3].positions *= 1.01
    elif change == "charges":
        del frames[3].arrays["REF_charges"]
    elif change == "total charge":
        del frames[3].info["total_charge"]
    elif change == "cell":
        frames[3].cell, frames[3].pbc = [30.0] * 3, True
    elif change == "unlabelled":
        del frames[3].info["REF_energy"]
    write(path, frames[1:] if change == "fewer" else frames)
    if change == "no frames":
        path.write_text("words")
    assert not file.is_at(path)


def test_names_are_unique_and_others_refused():
    assert len(REGISTRY) == len(SETS)
    with pytest.raises(ValueError, match="water_pbe0ts"):
        dataset("water")


@pytest.mark.parametrize("found", SETS, ids=lambda found: found.name)
def test_every_set_says_what_it_is(found):
    assert all((found.licence, found.level, found.source, found.split))
    assert {file.part for file in found.files} >= {"train", "valid"}
    assert found.own or all(file.sha256 and len(file.sha256) == 64 and file.content for file in found.files)


@pytest.mark.parametrize("found", [found for found in SETS if found.own], ids=lambda found: found.name)
def test_own_sets_are_there(found, tmp_path):
    assert state(found, tmp_path) == "there"


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the downloaded sets beside the checkout")
def test_downloaded_sets_are_the_frozen_ones():
    assert {found.name: state(found, DATA) for found in SETS} == dict.fromkeys(REGISTRY, "there")


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the downloaded sets beside the checkout")
@pytest.mark.parametrize("name", ["acac", "carbon_chain_4g"])
def test_what_the_registry_says_of_their_frames_is_right(name):
    for file in dataset(name).files:
        assert file.content.agrees(Content.of(DATA / dataset(name).folder / file.name))
