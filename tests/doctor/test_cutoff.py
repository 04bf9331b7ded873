import numpy as np
import pytest
from ase import Atoms

from cace_qeq.doctor.cutoff import passage, pulls
from cace_qeq.doctor.patient import Patient
from sick_models import CUTOFF, failed, healthy, kinked, on, steep, stepped, with_extra


def test_every_two_elements_end_at_the_cutoff():
    patient = on(healthy(), "skewed crystal")
    found = pulls(patient)
    assert len(found) == 3  # Na-Na, Na-Cl, Cl-Cl
    for pull in found:
        moved = patient.atoms.copy()
        moved.positions[pull.atom] += pull.distance * pull.direction
        distances = moved.repeat(3).get_all_distances(mic=True)
        assert np.abs(distances - CUTOFF).min() < 1e-10


@pytest.mark.parametrize("structure", ["molecule", "skewed crystal"])
def test_a_healthy_model_feels_nothing(structure):
    assert failed(passage(on(healthy(), structure))) == []


def test_a_step_and_a_kink_are_told_apart():
    assert failed(passage(on(with_extra(stepped), "molecule"))) == ["jump at the cutoff: energy"]
    assert failed(passage(on(with_extra(kinked), "molecule"))) == ["jump at the cutoff: forces"]


def test_what_is_smooth_may_be_steep():
    assert failed(passage(on(with_extra(steep), "molecule"))) == []


def test_the_size_of_a_step_is_measured():
    energy, _ = passage(on(with_extra(stepped), "molecule"))
    assert energy.value == pytest.approx(2e-4, rel=1e-3)  # both atoms lose a neighbour


def test_an_atom_alone_has_no_pair():
    assert passage(Patient.of(healthy(), Atoms("Na"))) == []
