import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.io import read, write

from cace_qeq.config import ModelConfig
from cace_qeq.model import CACEQEq
from cace_qeq.structures import GeometrySettings, LabelKeys
from cace_qeq.training.config import DataConfig
from cace_qeq.training.data import (
    batches_for,
    charged,
    examples_of,
    filled_batches,
    is_isolated,
    read_labelled,
    read_split,
    split_off,
)
from cace_qeq.training.loss import count_labels
from small_runs import trimers


def chains(sizes):
    """Hydrogen chains of the given lengths."""
    return [Atoms(f"H{n}", positions=[(i, 0, 0) for i in range(n)]) for n in sizes]


@pytest.fixture
def examples(tmp_path):
    write(tmp_path / "chains.extxyz", chains([1, 5, 2, 9, 3, 3, 7, 1, 4, 30]))
    frames = read_labelled([tmp_path / "chains.extxyz"], LabelKeys())
    return examples_of(frames, GeometrySettings(cutoff=1.5), LabelKeys(), 0.0)


@pytest.mark.parametrize("batch_atoms", [1, 8, 20, 1000])
@pytest.mark.parametrize("seed", [None, 0, 1])
def test_batches_hold_every_example_once(examples, batch_atoms, seed):
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    batches = list(filled_batches(examples, batch_atoms, generator))
    flat = [example for batch in batches for example in batch]
    assert sorted(map(id, flat)) == sorted(map(id, examples))
    assert all(batches)
    if seed is None:
        assert [id(example) for example in flat] == [id(example) for example in examples]


def test_batches_are_filled_by_atoms(tmp_path):
    write(tmp_path / "chains.extxyz", chains([3, 4] * 50))
    frames = read_labelled([tmp_path / "chains.extxyz"], LabelKeys())
    equal = examples_of(frames, GeometrySettings(cutoff=1.5), LabelKeys(), 0.0)
    sizes = [sum(e.batch.n_atoms for e in batch) for batch in filled_batches(equal, 40, None)]
    assert len(sizes) == 9  # 350 atoms
    assert max(sizes) <= 40 + 4  # one structure may lie across the border
    assert min(sizes) >= 38 - 4


def test_no_examples_make_no_batches():
    assert list(filled_batches((), 10, None)) == []


def test_the_seed_decides_the_split(tmp_path):
    frames = read_labelled([trimers(tmp_path) / "train.extxyz"], LabelKeys())
    train, valid = split_off(frames, 0.25, seed=0)
    assert (len(train), len(valid)) == (9, 3)
    assert {id(f) for f in train} | {id(f) for f in valid} == {id(f) for f in frames}
    assert split_off(frames, 0.25, seed=0) == (train, valid)
    assert split_off(frames, 0.25, seed=1) != (train, valid)


def typed_split(tmp_path, weights):
    frames = read(trimers(tmp_path) / "train.extxyz", ":")
    for frame, kind in zip(frames, ["bulk", "bulk", "surface"], strict=False):
        frame.info["config_type"] = kind
    frames[0].info["config_energy_weight"] = 3.0
    write(tmp_path / "train.extxyz", frames)
    files = {"train": tmp_path / "train.extxyz", "valid": tmp_path / "valid.extxyz"}
    return read_split(DataConfig(**files, config_type_weights=weights))


def test_frames_weigh_as_their_config_type_says(tmp_path):
    train = typed_split(tmp_path, {"bulk": 10.0, "surface": 0.0, "Default": 0.5}).train
    assert train[0].labels.weights[0].tolist() == [30.0, 10.0, 10.0, 10.0, 10.0, 10.0]
    assert [float(frame.labels.weights[0, 1]) for frame in train[:4]] == [10.0, 10.0, 1.0, 0.5]
    assert [int(count_labels(frame.labels).sum() > 0) for frame in train[:4]] == [1, 1, 0, 1]


def test_a_config_type_that_no_frame_has_is_named(tmp_path):
    with pytest.raises(ValueError, match="has the config_type 'slab'; there are Default, bulk, surface"):
        typed_split(tmp_path, {"slab": 2.0})


def test_a_fraction_that_leaves_nothing_is_refused(tmp_path):
    frames = read_labelled([trimers(tmp_path) / "train.extxyz"], LabelKeys())
    with pytest.raises(ValueError, match="no frame of every element to train on, of 1;"):
        split_off(frames[:1], 0.5, seed=0)


@pytest.mark.parametrize("seed", range(6))
def test_isolated_atoms_and_the_last_frame_of_an_element_stay_for_training(tmp_path, seed):
    frames = read(trimers(tmp_path) / "train.extxyz", ":")
    pair = [(0, 0, 0), (0, 0, 2.0)]
    alone = [
        Atoms("Ag"),
        Atoms("Ag", info={"total_charge": 1}),
        Atoms("Ag", cell=[[0, 9, 9], [9, 0, 9], [9, 9, 0]], pbc=True),
    ]
    write(
        tmp_path / "more.extxyz", [*frames, *alone, Atoms("AgO", pair), Atoms("Au2", pair), bulk("Ag"), bulk("Ag", a=4)]
    )
    train, valid = split_off(read_labelled([tmp_path / "more.extxyz"], LabelKeys()), 0.5, seed=seed)
    assert len(valid) == 10
    kept = [str(frame.atoms.symbols) for frame in train]
    assert {"AgO", "Au2"} <= set(kept)
    assert sum(is_isolated(frame.atoms) for frame in train) == 3


def test_fewer_frames_than_asked_for_are_told(tmp_path):
    write(
        tmp_path / "few.extxyz",
        [Atoms(f"H{z}", [(0, 0, 0), (0, 0, 1)]) for z in ("C", "N", "O", "F")]
        + 2 * [Atoms("H2", [(0, 0, 0), (0, 0, 1)])],
    )
    with pytest.warns(UserWarning, match="2 frames are set aside instead of 3"):
        split_off(read_labelled([tmp_path / "few.extxyz"], LabelKeys()), 0.5, seed=0)


def test_crystals_of_one_atom_are_set_aside_as_others(tmp_path):
    crystals = [bulk("Ag", a=a) for a in (3.9, 4.0, 4.1, 4.2)]
    write(tmp_path / "volumes.extxyz", crystals)
    train, valid = split_off(read_labelled([tmp_path / "volumes.extxyz"], LabelKeys()), 0.5, seed=0)
    assert (len(train), len(valid)) == (2, 2)


def test_an_element_without_training_frames_is_named(tmp_path):
    trimers(tmp_path)
    write(tmp_path / "gold.extxyz", Atoms("Au2", positions=[(0, 0, 0), (0, 0, 2.5)]))
    config = DataConfig(
        train=(tmp_path / "train.extxyz",),
        valid=(tmp_path / "valid.extxyz",),
        test=(tmp_path / "gold.extxyz",),
    )
    with pytest.raises(ValueError, match=r"gold.extxyz, frame 0: atomic numbers \[79\]"):
        read_split(config)


def test_charges_that_do_not_add_up_are_named(tmp_path):
    frames = read(trimers(tmp_path) / "train.extxyz", ":")
    frames[2].info["total_charge"] = -2
    write(tmp_path / "wrong.extxyz", frames)
    labelled = read_labelled([tmp_path / "wrong.extxyz"], LabelKeys())
    with pytest.raises(ValueError, match="wrong.extxyz, frame 2: .*add up"):
        examples_of(labelled, GeometrySettings(cutoff=4.0, largest_width=1.0), LabelKeys(), None)
    assert len(examples_of(labelled, GeometrySettings(cutoff=4.0), LabelKeys(), None)) == len(frames)  # not asked for


def test_dipoles_of_periodic_structures_are_no_labels(tmp_path):
    crystal = Atoms("H", positions=[(0, 0, 0)], cell=[3, 3, 3], pbc=True)
    crystal.info["REF_dipole"] = [1.0, 0, 0]
    write(tmp_path / "crystal.extxyz", crystal)
    (frame,) = read_labelled([tmp_path / "crystal.extxyz"], LabelKeys())
    assert frame.labels.dipole.isnan().all()


def test_a_model_of_charged_structures_asks_for_the_charge(tmp_path):
    write(tmp_path / "silent.extxyz", Atoms("H2", positions=[(0, 0, 0), (0, 0, 0.7)]))
    model = CACEQEq(ModelConfig(species=(1,), cutoff=3.0))
    model.provenance["total_charges"] = [0.0]
    assert not charged(model)
    frames = read_labelled([tmp_path / "silent.extxyz"], LabelKeys())
    assert len(list(batches_for(model, frames, LabelKeys(), None))) == 1
    model.provenance["total_charges"] = [-1.0, 0.0]
    with pytest.raises(ValueError, match="silent.extxyz, frame 0: .*total charge"):
        list(batches_for(model, frames, LabelKeys(), None))
    (batch,) = batches_for(model, frames, LabelKeys(), -1.0)
    assert batch.batch.total_charge.tolist() == [-1.0]
    with pytest.raises(ValueError, match="default total charge is inf e"):
        list(batches_for(model, frames, LabelKeys(), float("inf")))


def test_an_element_that_a_model_does_not_know_is_found_before_anything_is_evaluated(tmp_path):
    write(tmp_path / "two.extxyz", [Atoms("H2", positions=[(0, 0, 0), (0, 0, 0.7)]), Atoms("He")])
    frames = read_labelled([tmp_path / "two.extxyz"], LabelKeys())
    model = CACEQEq(ModelConfig(species=(1,), cutoff=3.0))
    with pytest.raises(
        ValueError, match=r"two.extxyz, frame 1: atomic numbers \[2\], where the model knows \[1\] alone"
    ):
        next(batches_for(model, frames, LabelKeys(), None))
