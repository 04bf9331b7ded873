"""Labels as a record."""

import zoo
from cace_qeq.structures import LabelKeys, labels_of


def test_moving_reaches_every_label():
    labels = labels_of(zoo.water(), LabelKeys()).to("meta")
    tensors = (labels.energy, labels.forces, labels.stress, labels.charges, labels.dipole)
    assert {tensor.device.type for tensor in tensors} == {"meta"}
