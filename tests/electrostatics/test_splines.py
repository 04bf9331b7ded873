import pytest
import torch

from cace_qeq.electrostatics.splines import spline_weights, wave_response

ORDERS = [2, 3, 4, 5, 6, 7, 8]
FRACTIONS = torch.linspace(0, 1, 12, dtype=torch.float64)[:-1]


@pytest.mark.parametrize("order", ORDERS)
def test_shares_are_positive_and_add_up_to_one(order):
    weights = spline_weights(FRACTIONS, order)
    assert weights.shape == (11, order)
    assert weights.min() >= -1e-15
    assert torch.allclose(weights.sum(1), torch.ones(11, dtype=torch.float64), rtol=0, atol=1e-14)


@pytest.mark.parametrize("order", ORDERS)
def test_the_centre_of_the_shares_moves_with_the_charge(order):
    places = (spline_weights(FRACTIONS, order) * -torch.arange(order)).sum(1)
    assert torch.allclose(places - FRACTIONS, (places - FRACTIONS)[:1].expand(11), rtol=0, atol=1e-14)


@pytest.mark.parametrize("order", [4, 6, 8])
def test_derivatives_continue_across_mesh_points(order):
    """The share of the point j at t = 1 is that of the point j + 1 at t = 0, with order - 2 derivatives."""
    for place, behind in ((1.0, 0), (0.0, 1)):
        fraction = torch.tensor(place, dtype=torch.float64, requires_grad=True)
        value, found = spline_weights(fraction, order)[1 + behind], []
        for _ in range(order - 1):
            found.append(float(value.detach()))
            (value,) = torch.autograd.grad(value, fraction, create_graph=True)
        if behind:
            assert found == pytest.approx(expected, abs=1e-12)  # noqa: F821
        expected = found  # noqa: F841


def test_cubic_spline_in_closed_form():
    t = FRACTIONS
    expected = torch.stack([t**3, 1 + 3 * t + 3 * t**2 - 3 * t**3, 4 - 6 * t**2 + 3 * t**3, (1 - t) ** 3], 1) / 6
    assert torch.allclose(spline_weights(t, 4), expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("n_points", [9, 12])
def test_response_is_the_sum_over_aliases(order, n_points):
    """Σ_l sinc²ᵖ(π(m/n + l)) by brute force; 2 000 aliases leave 1e-11 of it at order 2."""
    waves = torch.fft.fftfreq(n_points, dtype=torch.float64).unsqueeze(1) + torch.arange(-2000, 2001)
    expected = 1 / torch.sinc(waves).pow(2 * order).sum(1)
    if n_points % 2 == 0:
        expected[n_points // 2] = 0.0
    assert torch.allclose(wave_response(n_points, order), expected, rtol=1e-10, atol=0)


def test_what_is_kept_serves_gradients_later():
    wave_response.cache_clear()
    with torch.inference_mode():
        wave_response(12, 4)
    assert not wave_response(12, 4).is_inference()
