import pytest

from cace_qeq.doctor.derivatives import finite_differences
from sick_models import failed, forceless, healthy, on, stressless, with_extra


@pytest.mark.parametrize("structure", ["charged molecule", "skewed crystal"])
def test_derivatives_of_a_healthy_model(structure):
    assert failed(finite_differences(on(healthy(), structure))) == []


SICK = {
    forceless: ["forces against finite differences", "stress against finite differences"],
    stressless: ["stress against finite differences"],
}


@pytest.mark.parametrize("extra", SICK, ids=lambda extra: extra.__name__)
def test_energies_without_their_derivatives_are_caught(extra):
    assert failed(finite_differences(on(with_extra(extra), "skewed crystal"))) == SICK[extra]
