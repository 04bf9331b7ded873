"""Where labels are found, in which form, and what is refused."""

import io

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

import zoo
from cace_qeq.structures import (
    PROPERTIES,
    LabelKeys,
    Labels,
    check_charge_sum,
    label_sources,
    labels_of,
    refuse_absent,
    total_charge_of,
)

USUAL = LabelKeys()
VOIGT = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]  # xx yy zz yz xz xy
MATRIX = [[1.0, 6.0, 5.0], [6.0, 2.0, 4.0], [5.0, 4.0, 3.0]]
HOLE = np.where(np.arange(9) == 4, np.nan, 1.0)


@pytest.mark.parametrize(
    ("weights", "kept"),
    [
        ({"config_forces_weight": 0.0, "config_energy_weight": 1.0}, {"energy", "charges"}),
        ({"config_energy_weight": 0}, {"forces", "charges"}),
        ({"config_weight": 0.0}, set()),
        ({"config_weight": 0.5}, {"energy", "forces", "charges"}),
    ],
)
def test_labels_without_weight_are_none(weights, kept):
    atoms = zoo.ethanol()
    atoms.info |= {"REF_energy": 1.0, "total_charge": 0} | weights
    atoms.arrays |= {"REF_forces": np.zeros((9, 3)), "REF_charges": np.zeros(9)}
    sources = label_sources(atoms, USUAL)
    assert {name for name, key in sources.items() if key} == kept | {"total_charge"}


def test_weights_of_frames_are_those_of_mace():
    atoms = zoo.ethanol()
    atoms.info |= {"REF_energy": 1.0, "config_weight": 2.0, "config_forces_weight": 0.25, "config_energy_weight": 3}
    atoms.arrays |= {"REF_forces": np.zeros((9, 3)), "REF_charges": np.zeros(9)}
    weights = dict(zip(PROPERTIES, labels_of(atoms, USUAL).weights[0].tolist(), strict=True))
    assert weights == {"energy": 6.0, "forces": 0.5, "stress": 1.0, "charges": 2.0, "dipole": 1.0, "born_charges": 1.0}
    atoms = zoo.crystal()
    atoms.info |= {"virial": np.eye(3), "config_virial_weight": 4.0, "config_stress_weight": 0.5}
    assert labels_of(atoms, USUAL).weights[0].tolist() == [1.0, 1.0, 2.0, 1.0, 1.0, 1.0]


@pytest.mark.parametrize("weight", [-1.0, "heavy", np.inf, [1.0, 2.0]], ids=str)
def test_weights_that_are_none_are_refused(weight):
    atoms = zoo.ethanol()
    atoms.info |= {"REF_energy": 1.0, "config_weight": weight}
    with pytest.raises(ValueError, match="config_weight is"):
        labels_of(atoms, USUAL)


def example(name: str, atoms: Atoms, factor: float) -> np.ndarray | float:
    """A label that tells by its size where it came from."""
    values = {
        "energy": 1.0,
        "forces": np.ones((len(atoms), 3)),
        "stress": np.ones((3, 3)),
        "charges": np.ones(len(atoms)),
        "dipole": np.ones(3),
        "born_charges": np.ones((len(atoms), 9)),
    }
    return factor * values[name]


def write(atoms: Atoms, name: str, key: str, factor: float) -> None:
    store = atoms.arrays if name in ("forces", "charges", "born_charges") else atoms.info
    store[key] = example(name, atoms, factor)


def found(atoms: Atoms, keys: LabelKeys, name: str) -> tuple[float, str | None]:
    """The largest number of a label, and its key."""
    return float(getattr(labels_of(atoms, keys), name).max()), label_sources(atoms, keys)[name]


def calculated(atoms: Atoms, **results) -> Atoms:
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def through_a_file(atoms: Atoms) -> Atoms:
    text = io.StringIO()
    ase.io.write(text, atoms, format="extxyz", write_results=False)
    text.seek(0)
    return ase.io.read(text, format="extxyz")


def test_every_label_is_missing_from_a_bare_structure():
    atoms = zoo.crystal()
    labels = labels_of(atoms, USUAL)
    shapes = {
        "energy": (1,),
        "forces": (6, 3),
        "stress": (1, 3, 3),
        "charges": (6,),
        "dipole": (1, 3),
        "born_charges": (6, 3, 3),
    }
    for name, shape in shapes.items():
        values = getattr(labels, name)
        assert (values.shape, values.dtype) == (shape, torch.float64)
        assert values.isnan().all()
    assert label_sources(atoms, USUAL) == {**dict.fromkeys(PROPERTIES), "total_charge": "total_charge"}


@pytest.mark.parametrize("name", PROPERTIES)
def test_the_order_of_places(name):
    """Configured key, REF_x, results of a calculator, x: each is found once those before it are gone."""
    atoms = zoo.crystal()
    keys = LabelKeys(**{name: "own"})
    write(atoms, name, name, 1)
    assert found(atoms, USUAL, name) == (1, name)
    of_ase = {"born_charges": "born_effective_charges"}.get(name, name)
    calculated(atoms, **{of_ase: example(name, atoms, 2)})
    assert found(atoms, USUAL, name) == (2, of_ase)
    write(atoms, name, f"REF_{name}", 3)
    assert found(atoms, USUAL, name) == (3, f"REF_{name}")
    write(atoms, name, "own", 4)
    assert found(atoms, keys, name) == (4, "own")


@pytest.mark.parametrize("name", PROPERTIES)
def test_a_configured_key_that_is_absent_means_missing(name):
    atoms = zoo.crystal()
    write(atoms, name, f"REF_{name}", 3)
    write(atoms, name, name, 3)
    keys = LabelKeys(**{name: "own"})
    assert getattr(labels_of(atoms, keys), name).isnan().all()
    assert label_sources(atoms, keys)[name] is None


@pytest.mark.parametrize("name", PROPERTIES)
@pytest.mark.parametrize("keys", ["usual", "configured"])
def test_plain_names_are_found_after_ase_has_moved_them(name, keys):
    atoms = zoo.crystal()
    write(atoms, name, name, 2)
    atoms = through_a_file(atoms)
    chosen = LabelKeys(**{name: name}) if keys == "configured" else USUAL
    assert found(atoms, chosen, name) == (2, name)


@pytest.mark.parametrize("key", ["REF_bec", "REF_born_charges", "bec"])
def test_nine_columns_of_born_charges_are_matrices(key):
    """Row by row: the direction of the displacement first."""
    atoms = zoo.crystal()
    atoms.arrays[key] = np.arange(54.0).reshape(6, 9)
    labels = labels_of(through_a_file(atoms), USUAL)
    assert labels.born_charges[5, 0].tolist() == [45.0, 46.0, 47.0]


def test_a_stress_that_is_not_symmetric_is_refused():
    atoms = bulk("Cu")
    atoms.info["REF_stress"] = np.array(MATRIX)
    atoms.info["REF_stress"][0, 1] += 1e-3 * np.abs(MATRIX).max()  # as codes round
    assert np.abs(labels_of(atoms, USUAL).stress[0].numpy() - MATRIX).max() < 1e-3 * np.abs(MATRIX).max()
    atoms.info["REF_stress"][0, 1] += 0.2 * np.abs(MATRIX).max()
    with pytest.raises(ValueError, match=r"Cu: REF_stress is .*, expected a symmetric matrix"):
        labels_of(atoms, USUAL)


@pytest.mark.parametrize("key", ["REF_stress", "stress"])
@pytest.mark.parametrize(
    "value",
    [VOIGT, MATRIX, np.ravel(MATRIX), [VOIGT]],
    ids=["six", "matrix", "nine", "nested"],
)
def test_stress_in_all_forms(key, value):
    atoms = zoo.crystal()
    atoms.info[key] = np.array(value)
    assert labels_of(atoms, USUAL).stress.tolist() == [MATRIX]


@pytest.mark.parametrize(
    ("key", "value"),
    [("REF_stress", VOIGT), ("REF_stress", MATRIX), ("stress", MATRIX)],
    ids=["REF_six", "REF_nine", "nine"],  # ASE itself refuses a plain `stress` of six numbers in a file
)
def test_stress_through_a_file(key, value):
    atoms, file = zoo.crystal(), io.StringIO()
    ase.io.write(file, atoms, format="extxyz")
    text = " ".join(str(number) for number in np.ravel(value))
    file = io.StringIO(file.getvalue().replace(" pbc", f' {key}="{text}" pbc'))
    assert labels_of(ase.io.read(file, format="extxyz"), USUAL).stress.tolist() == [MATRIX]


@pytest.mark.parametrize("key", ["REF_virial", "REF_virials", "virial", "my_virial"])
@pytest.mark.parametrize("value", [VOIGT, MATRIX], ids=["six", "matrix"])
def test_virials_become_stresses(key, value):
    atoms = zoo.left_handed()
    atoms.info[key] = np.array(value)
    keys = LabelKeys(stress=key) if key == "my_virial" else USUAL
    expected = -torch.tensor([MATRIX], dtype=torch.float64) / atoms.get_volume()
    torch.testing.assert_close(labels_of(atoms, keys).stress, expected, rtol=1e-14, atol=0)
    assert label_sources(atoms, keys)["stress"] == key


@pytest.mark.parametrize("make", [zoo.ethanol, zoo.slab], ids=["molecule", "slab"])
def test_stress_needs_three_periodic_directions(make):
    atoms = make()
    atoms.info["REF_stress"] = np.zeros(6)
    assert labels_of(atoms, USUAL).stress.isnan().all()
    assert label_sources(atoms, USUAL)["stress"] is None


def test_single_atoms_have_labels_of_every_shape():
    atoms = zoo.one_atom()
    atoms.arrays["REF_charges"] = np.array([1.0])
    atoms.arrays["REF_forces"] = np.array([[0.0, 1.0, 2.0]])
    labels = labels_of(atoms, USUAL)
    assert labels.charges.tolist() == [1.0]
    assert labels.forces.tolist() == [[0.0, 1.0, 2.0]]


@pytest.mark.parametrize(
    ("store", "key", "value", "complaint"),
    [
        ("info", "REF_energy", np.nan, "C2H6O: REF_energy is not finite"),
        ("info", "REF_energy", "low", "REF_energy is 'low', expected numbers"),
        ("info", "REF_energy", True, "REF_energy is True, expected numbers"),
        ("info", "REF_dipole", np.ones(2), r"REF_dipole is of shape \(2,\)"),
        ("info", "REF_dipole", [0, np.inf, 0], "REF_dipole is not finite"),
        ("arrays", "REF_forces", np.ones((9, 2)), r"REF_forces is of shape \(9, 2\).*expected .*\(9, 3\)"),
        (
            "arrays",
            "REF_forces",
            np.full((9, 3), HOLE[:, None]),
            "atom 4: REF_forces is not finite",
        ),
        ("arrays", "REF_charges", np.ones((9, 2)), r"REF_charges is of shape \(9, 2\)"),
        (
            "arrays",
            "REF_charges",
            HOLE,
            "atom 4: REF_charges is not finite",
        ),
    ],
)
def test_labels_that_are_refused(store, key, value, complaint):
    atoms = zoo.ethanol()
    getattr(atoms, store)[key] = value
    with pytest.raises(ValueError, match=complaint):
        labels_of(atoms, USUAL)


@pytest.mark.parametrize("value", [np.ones(5), np.ones((3, 4))], ids=["five", "twelve"])
def test_stresses_of_another_shape_are_refused(value):
    atoms = zoo.crystal()
    atoms.info["REF_stress"] = value
    with pytest.raises(ValueError, match="REF_stress is of shape"):
        labels_of(atoms, USUAL)


def test_total_charge_from_either_usual_key():
    for key in ("total_charge", "charge"):
        atoms = Atoms("Na", info={key: np.int64(1)})
        assert total_charge_of(atoms, USUAL, default=0.0) == 1.0
        assert label_sources(atoms, USUAL)["total_charge"] == key
    both = Atoms("Na", info={"total_charge": 1.0, "charge": 1})
    assert total_charge_of(both, USUAL, default=None) == 1.0


def test_total_charge_from_a_configured_key_only():
    atoms = Atoms("Na", info={"Q": 2, "charge": 1})
    assert total_charge_of(atoms, LabelKeys(total_charge="Q"), default=None) == 2.0
    assert total_charge_of(atoms, LabelKeys(total_charge="other"), default=-1.0) == -1.0


@pytest.mark.parametrize(
    ("info", "complaint"),
    [
        ({}, "Na: no total charge, expected total_charge=<e>"),
        ({"charge": 1, "total_charge": 0}, "Na: total_charge=0 and charge=1 disagree"),
        ({"charge": "plus"}, "charge is 'plus', expected numbers"),
        ({"charge": True}, "charge is True, expected numbers"),  # what ASE makes of a lone word `charge`
        ({"charge": np.nan}, "charge is not finite"),
    ],
)
def test_total_charges_that_are_refused(info, complaint):
    with pytest.raises(ValueError, match=complaint):
        total_charge_of(Atoms("Na", info=info), USUAL, default=None)


def labelled_charges(*charges: float) -> tuple[Atoms, Labels]:
    atoms = zoo.water()
    atoms.arrays["REF_charges"] = np.array(charges)
    return atoms, labels_of(atoms, USUAL)


def test_charges_must_add_up_within_their_rounding():
    atoms, labels = labelled_charges(-0.8, 0.4, 0.39)
    check_charge_sum(atoms, labels, 0.0)
    with pytest.raises(ValueError, match=r"H2O: the charges add up to -0.0100 e, expected the total charge 1 e"):
        check_charge_sum(atoms, labels, 1.0)


def test_missing_charges_add_up_to_anything():
    check_charge_sum(zoo.water(), labels_of(zoo.water(), USUAL), 3.0)


def test_labels_can_be_left_out():
    atoms = zoo.water()
    atoms.arrays["REF_charges"] = np.array([6.0, 1.0, 1.0])
    atoms.info["REF_energy"] = -2.0
    keys = LabelKeys(charges="none")
    labels = labels_of(atoms, keys)
    assert labels.charges.isnan().all()
    assert labels.energy.item() == -2.0
    assert label_sources(atoms, keys)["charges"] is None
    refuse_absent(keys, [atoms], "data.keys")
    check_charge_sum(atoms, labels, 0.0)
    with pytest.raises(ValueError, match=r"leave these charges out by the key \"none\" \(data.keys: {charges: none}"):
        check_charge_sum(atoms, labels_of(atoms, USUAL), 0.0)


def test_charges_of_fragments_that_are_no_numbers_are_named():
    atoms = Atoms("NaCl", [[0, 0, 0], [0, 0, 3]], info={"fragment_charges": "one two"})
    atoms.arrays["charge_fragment"] = np.array([0, 1])
    with pytest.raises(ValueError, match="ClNa: fragment_charges is 'one two', expected numbers"):
        total_charge_of(atoms, LabelKeys(), None)
