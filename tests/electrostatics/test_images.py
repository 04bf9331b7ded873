from itertools import product

import pytest
import torch

from cace_qeq.electrostatics import images
from cace_qeq.electrostatics.images import image_pairs
from charged_structures import crystal


def listed(positions, cell, cutoff):
    """Pairs by a plain loop over more images than can matter, (b, a, -shift) left out beside (a, b, shift)."""
    found = set()
    for shift in product(range(-6, 7), repeat=3):
        offset = torch.tensor(shift, dtype=torch.float64) @ cell
        for center, neighbor in product(range(len(positions)), repeat=2):
            distance = (positions[neighbor] + offset - positions[center]).norm()
            if distance <= cutoff and (center, 0, 0, 0) < (neighbor, *shift):
                found.add((center, neighbor, *shift))
    return found


@pytest.mark.parametrize("chunk", [10, 1_000_000])
def test_every_pair_is_found_once(chunk, monkeypatch):
    monkeypatch.setattr(images, "CHUNK", chunk)
    structure = crystal(3)
    outside = structure.positions + torch.tensor([[0, 0, 0], [9, -7, 0], [-13, 0, 2]], dtype=torch.float64)
    center, neighbor, shift = image_pairs(outside, structure.cell, 7.5)
    pairs = list(zip(center.tolist(), neighbor.tolist(), *shift.T.tolist(), strict=True))
    assert len(pairs) == len(set(pairs))
    assert set(pairs) == listed(outside, structure.cell, 7.5)
    assert torch.equal(center, center.sort().values)
