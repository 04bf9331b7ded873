import ase.io
import numpy as np
import pytest

import zoo
from cace_qeq.structures import GeometrySettings, collate, conditions_of, read_frames, to_batch

SETTINGS = GeometrySettings(cutoff=3.5, largest_width=0.7, accuracy=1e-6)


def written(**changes):
    """Ethanol with everything that a frame can impose at a given total charge."""
    atoms = zoo.ethanol()
    atoms.arrays["charge_fragment"] = np.array([0, 0, 1, -1, -1, -1, -1, -1, 1])
    values = {
        "fragment_charges": [0.5, -0.25],
        "electric_field": [0.0, 0.1, 0.2],
        "external_positions": [[9.0, 0, 0], [0, 9.0, 0]],
        "external_charges": [1.0, -1.0],
    }
    atoms.info.update({**values, **changes})
    return atoms


def test_a_file_holds_conditions(tmp_path):
    ase.io.write(tmp_path / "frame.extxyz", written())
    atoms = read_frames(tmp_path / "frame.extxyz")[0]
    for source in (written(), atoms):
        imposed = to_batch(source, SETTINGS, 0.0).imposed
        assert imposed.fragment.tolist() == [0, 0, 1, -1, -1, -1, -1, -1, 1]
        assert imposed.fragment_charge.tolist() == [0.5, -0.25]
        assert imposed.field.tolist() == [[0.0, 0.1, 0.2]]
        assert imposed.external.positions.tolist() == [[9.0, 0, 0], [0, 9.0, 0]]
        assert imposed.external.width.tolist() == [0.0, 0.0]


def test_electrodes():
    atoms = zoo.silver_anion()
    atoms.arrays["electrode"] = np.array([1, 1, 0])
    atoms.info["electrode_potentials"] = [0.5, -3.0]
    assert to_batch(atoms, SETTINGS, float("nan")).imposed.potential.tolist() == [-3.0, -3.0, 0.5]


def test_one_fragment_or_charge_may_be_a_number():
    atoms = zoo.silver_anion()
    atoms.arrays["charge_fragment"] = np.array([0, -1, -1])
    atoms.info.update(fragment_charges=0.5, external_charges=2.0, external_positions=[9.0, 0, 0])
    imposed = to_batch(atoms, SETTINGS, -1.0).imposed
    assert imposed.fragment_charge.tolist() == [0.5]
    assert imposed.external.positions.tolist() == [[9.0, 0, 0]]


def test_frames_without_conditions_impose_nothing():
    assert conditions_of(zoo.ethanol()).empty


def test_a_model_without_charges_does_not_ask():
    imposed = to_batch(written(fragment_charges=[1.0]), GeometrySettings(cutoff=3.5), 0.0).imposed
    assert not imposed.field.any()


def test_fragments_keep_their_numbers_in_a_batch():
    batch = collate([to_batch(atoms, SETTINGS, 0.0) for atoms in (zoo.water(), written(), written())])
    assert batch.imposed.fragment[3:12].tolist() == [0, 0, 1, -1, -1, -1, -1, -1, 1]
    assert batch.imposed.fragment[12:].tolist() == [2, 2, 3, -1, -1, -1, -1, -1, 3]
    assert batch.imposed.fragment_structure.tolist() == [1, 1, 2, 2]
    assert batch.imposed.external.structure.tolist() == [1, 1, 2, 2]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fragment_charges": [0.5]}, "labels from -1 to 1, but fragment_charges has 1 numbers"),
        ({"electrode_potentials": [0.5]}, "C2H6O: expected atoms.arrays.'electrode'."),
        ({"fragment_charges": [0.5, np.nan]}, "C2H6O: the number of fragment 1 is nan"),
        ({"electric_field": [0.5]}, "C2H6O: field has shape"),
    ],
)
def test_bad_conditions_name_the_frame(changes, message):
    with pytest.raises(ValueError, match=message):
        to_batch(written(**changes), SETTINGS, 0.0)
