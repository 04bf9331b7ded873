"""Products of densities and matrices, and derivatives to third order, against einsums that autograd differentiates."""

import pytest
import torch
from torch import Tensor

from all_derivatives import derivatives, random
from cace_qeq.features import mixed

STEPS = [(9,), (9, 1), (16, 4), (16, 9, 1)]


def plain(densities: Tensor, matrices: Tensor, steps: tuple[int, ...]) -> Tensor:
    component = torch.cat([torch.arange(size) for size in steps])
    return torch.einsum("apn,pnc->pac", densities[:, component], matrices)


@pytest.mark.parametrize("n_atoms", [0, 1, 3])
@pytest.mark.parametrize("steps", STEPS)
def test_derivatives_equal_those_of_autograd(steps, n_atoms):
    densities, matrices = random(n_atoms, steps[0], 4, seed=1), random(sum(steps), 4, 2, seed=2)
    for found, expected in zip(
        derivatives(lambda d, m: mixed(d, m, steps), densities, matrices),
        derivatives(lambda d, m: plain(d, m, steps), densities, matrices),
        strict=True,
    ):
        scale = max(1.0, expected.abs().max().item()) if expected.numel() else 1.0
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13 * scale)


def test_densities_may_lie_component_by_component():
    densities, matrices = random(9, 5, 4, seed=3).transpose(0, 1), random(10, 4, 2, seed=4)
    torch.testing.assert_close(mixed(densities, matrices, (9, 1)), plain(densities, matrices, (9, 1)))


def test_nothing_is_read_before_it_is_written():
    """Sizes of other kernels, in memory that holds NaN before."""
    densities, matrices = random(7, 16, 32, seed=5), random(20, 32, 40, seed=6)
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        assert torch.empty(3).isnan().all()
        found, *slopes = derivatives(lambda d, m: mixed(d, m, (16, 4)), densities, matrices)[:3]
    finally:
        torch.use_deterministic_algorithms(before)
    expected, *others = derivatives(lambda d, m: plain(d, m, (16, 4)), densities, matrices)[:3]
    for value, reference in zip([found, *slopes], [expected, *others], strict=True):
        torch.testing.assert_close(value, reference, rtol=1e-10, atol=1e-10 * reference.abs().max().item())
