import pytest

from cace_qeq.doctor.symmetry import symmetries
from sick_models import failed, handed, healthy, on, ordered, uneven, with_extra


@pytest.mark.parametrize("structure", ["charged molecule", "skewed crystal"])
def test_a_healthy_model_has_all_symmetries(structure):
    assert failed(symmetries(on(healthy(), structure))) == []


SICK = {
    uneven: ["rotation: energy", "rotation: forces", "reflection: energy", "reflection: forces"],
    handed: ["reflection: energy", "reflection: forces"],
    ordered: ["permutation: energy", "permutation: forces"],
}


@pytest.mark.parametrize("extra", SICK, ids=lambda extra: extra.__name__)
def test_each_broken_symmetry_is_named(extra):
    assert failed(symmetries(on(with_extra(extra), "skewed crystal"))) == SICK[extra]
