import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from cace_qeq.quickstart.drawing import SCALE, colour, drawn, placed
from cace_qeq.quickstart.shapes import REFERENCE, Shape


@pytest.mark.parametrize("shape", REFERENCE.values(), ids=["triangle", "chain"])
def test_distances_are_drawn_to_scale(shape):
    points = np.array(placed(shape)) / SCALE
    drawn_distances = [np.linalg.norm(points[i] - points[j]) for i, j in ((0, 1), (1, 2), (0, 2))]
    assert drawn_distances == pytest.approx(shape.distances)


def test_charges_are_written_and_far_atoms_not_joined():
    tree = ElementTree.fromstring(drawn(Shape(180.0, (2.6, 2.6, 5.2), (-0.3, -0.4, -0.3), 0.0)))
    assert [text.text for text in tree.iter("text")] == ["-0.30", "-0.40", "-0.30"]
    assert len(list(tree.iter("line"))) == 2
    assert len(list(ElementTree.fromstring(drawn(REFERENCE[1])).iter("line"))) == 3


def test_no_charge_is_white():
    assert colour(0.0) == "rgb(255,255,255)"
