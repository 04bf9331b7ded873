import pytest
import torch

from cace_qeq.features.cutoff import envelope_slope, polynomial_envelope, reduced


def distances(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("power", [2, 5, 6])
def test_envelope_and_two_derivatives_are_continuous_at_the_cutoff(power):
    distance = distances(5.5 * (1 - 1e-6))  # derivatives vanish like (1 - x)^3, (1 - x)^2, 1 - x
    value = polynomial_envelope(distance, 5.5, power)
    (slope,) = torch.autograd.grad(value.sum(), distance, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), distance)
    assert abs(value.item()) < 1e-13
    assert abs(slope.item()) < 1e-9
    assert abs(curvature.item()) < 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_envelope_and_its_derivatives_are_exactly_zero_beyond_the_cutoff(dtype):
    distance = torch.tensor([5.500001, 5.6, 1000.0], dtype=dtype, requires_grad=True)
    value = polynomial_envelope(distance, 5.5)
    (slope,) = torch.autograd.grad(value.sum(), distance, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), distance)
    assert not value.any() and not slope.any() and not curvature.any()


def test_envelope_falls_monotonically():
    distance = torch.linspace(0, 5.5, 200, dtype=torch.float64)
    assert (polynomial_envelope(distance, 5.5).diff() <= 1e-15).all()  # rounding of 1 - x^6 near zero


def test_envelope_starts_at_one():
    value = polynomial_envelope(distances(0.0, 1e-12), 5.5)
    torch.testing.assert_close(value, torch.ones_like(value), rtol=0, atol=0)


def test_slope_is_the_derivative():
    distance = torch.linspace(0.0, 6.0, 50, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(polynomial_envelope(distance, 5.5).sum(), distance)
    torch.testing.assert_close(envelope_slope(reduced(distance, 5.5)) / 5.5, slope, rtol=0, atol=1e-12)
