import zoo
from cace_qeq.doctor.paths import cell_paths
from cace_qeq.doctor.patient import Patient
from sick_models import counting_waves, failed, healthy, on, stressless, with_extra


def test_a_healthy_model_has_no_steps():
    assert failed(cell_paths(on(healthy(), "skewed crystal"))) == []


def test_nor_has_it_on_a_slab():
    assert failed(cell_paths(Patient.of(healthy(), zoo.charged_slab()))) == []


def test_steps_as_waves_come_and_go_are_caught():
    found = failed(cell_paths(on(with_extra(counting_waves), "skewed crystal")))
    assert found == ["steps along a shear path: energy"]  # the planned split grows with the volume, waves stay


def test_a_stress_that_is_not_that_of_the_path_is_caught():
    found = failed(cell_paths(on(with_extra(stressless), "skewed crystal")))
    assert found == ["steps along a volume path: energy", "steps along a shear path: energy"]


def test_a_molecule_has_no_cell():
    assert cell_paths(on(healthy(), "molecule")) == []
