import pytest
import torch

from cace_qeq.electrostatics import coulomb_matrix, direct
from cace_qeq.electrostatics.direct import AllPairs
from cace_qeq.electrostatics.kernels import self_interaction
from charged_structures import geometry_of, molecule

MOLECULE = molecule(9)


@pytest.mark.parametrize(("block", "kept"), [(2**20, 2**26), (20, 2**26), (20, 0)], ids=str)
def test_blocks_do_not_matter(block, kept, monkeypatch):
    """One block, several, and a matrix that is never kept."""
    monkeypatch.setattr(direct, "BLOCK", block)
    monkeypatch.setattr(direct, "KEPT", kept)
    expected = coulomb_matrix(geometry_of(MOLECULE), MOLECULE.width)[0] - torch.diag(self_interaction(MOLECULE.width))
    form, charges = AllPairs(MOLECULE.positions, MOLECULE.width.square()), MOLECULE.electronegativity
    assert torch.allclose(form.product(charges), expected @ charges, rtol=0, atol=1e-12)
    assert form.gradients(charges, charges)[0].sum(0).abs().max() < 1e-10  # no force on the whole
