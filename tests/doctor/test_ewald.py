import pytest

import zoo
from cace_qeq.doctor.ewald import sums
from cace_qeq.doctor.patient import Patient
from cace_qeq.electrostatics import Solver
from sick_models import failed, healthy, on
from small_models import crystal, untrained_model


@pytest.mark.parametrize("make", [zoo.charged_crystal, zoo.charged_slab], ids=lambda make: make.__name__)
def test_sums_of_a_healthy_model_are_converged(make):
    assert failed(sums(Patient.of(healthy(), make()))) == []


def test_coarse_sums_are_caught():
    model = untrained_model(crystal(), ewald_accuracy=1e-3)
    found = failed(sums(on(model, "skewed crystal")))
    assert found == ["Ewald error estimate", "independence of the Ewald split"]


def test_a_molecule_and_a_model_without_charges_have_no_sums():
    assert sums(on(healthy(), "molecule")) == []
    assert sums(on(untrained_model(crystal(), energy="none"), "skewed crystal")) == []


def test_the_solver_that_a_model_came_with_does_not_matter():
    model = untrained_model(crystal())
    model.solver = Solver("mesh")
    assert failed(sums(on(model, "skewed crystal"))) == []
