import math

import pytest
import torch

from cace_qeq.electrostatics.kernels import (
    background_interaction,
    gaussian_coulomb,
    reciprocal_amplitude,
    screened_gaussian_coulomb,
    self_interaction,
    split_self_interaction,
)
from cace_qeq.units import COULOMB

DISTANCES = torch.tensor([0.3, 0.9, 2.0, 7.0], dtype=torch.float64)
WIDTHS = torch.tensor([0.5, 1.2, 0.8, 2.5], dtype=torch.float64)


def test_gaussian_coulomb_has_derivatives_of_every_order():
    inputs = (DISTANCES.square().requires_grad_(), WIDTHS.square().requires_grad_())
    assert torch.autograd.gradcheck(gaussian_coulomb, inputs)
    assert torch.autograd.gradgradcheck(gaussian_coulomb, inputs)


def test_third_derivative_is_that_of_the_plain_formula():
    def third(function):
        squared = torch.tensor(1.7, dtype=torch.float64, requires_grad=True)
        derivative = function(squared)
        for _ in range(3):
            (derivative,) = torch.autograd.grad(derivative, squared, create_graph=True)
        return float(derivative.detach())

    plain = third(lambda x: COULOMB * torch.erf((x / 1.28).sqrt()) / x.sqrt())
    written = third(lambda x: gaussian_coulomb(x, torch.tensor(0.64, dtype=torch.float64)))
    assert written == pytest.approx(plain, rel=1e-12)


def test_gaussian_coulomb_is_the_error_function_over_distance():
    expected = [
        COULOMB * math.erf(r / (math.sqrt(2) * g)) / r for r, g in zip(DISTANCES.tolist(), WIDTHS.tolist(), strict=True)
    ]
    found = gaussian_coulomb(DISTANCES.square(), WIDTHS.square())
    assert found.tolist() == pytest.approx(expected, rel=1e-14)


def test_screened_pair_is_the_difference_of_complementary_error_functions():
    split = torch.full_like(DISTANCES, 1.4)
    expected = [
        COULOMB * (math.erfc(r / (math.sqrt(2) * 1.4)) - math.erfc(r / (math.sqrt(2) * g))) / r
        for r, g in zip(DISTANCES.tolist(), WIDTHS.tolist(), strict=True)
    ]
    found = screened_gaussian_coulomb(DISTANCES.square(), WIDTHS.square(), split)
    assert found.tolist() == pytest.approx(expected, abs=1e-13)  # differences of numbers near 10


def test_screened_pair_has_derivatives_of_every_order():
    for split in (torch.full_like(DISTANCES, 1.4), torch.tensor(1.4, dtype=torch.float64)):
        inputs = (DISTANCES.square().requires_grad_(), WIDTHS.square().requires_grad_(), split.requires_grad_())
        assert torch.autograd.gradcheck(screened_gaussian_coulomb, inputs)
        assert torch.autograd.gradgradcheck(screened_gaussian_coulomb, inputs)


def test_coincident_charges_approach_the_self_interaction():
    width = torch.tensor([0.7], dtype=torch.float64)
    pair = gaussian_coulomb(torch.tensor([1e-8], dtype=torch.float64), 2 * width.square())
    assert pair.item() == pytest.approx(self_interaction(width).item(), rel=1e-8)  # r²/6γ² is 2e-9


def test_distant_charges_are_points():
    pair = gaussian_coulomb(torch.tensor([400.0], dtype=torch.float64), torch.tensor([1.0], dtype=torch.float64))
    assert pair.item() == pytest.approx(COULOMB / 20, rel=1e-15)


def test_reciprocal_sum_in_a_huge_cell_is_an_integral():
    """Σ of the weights over all k becomes ∫ 4π k_e exp(-η²k²/2) / k² d³k / (2π)³ = k_e √(2/π) / η."""
    split = torch.tensor([[0.8]], dtype=torch.float64)
    step = torch.linspace(0.0005, 15.0 - 0.0005, 15000, dtype=torch.float64).unsqueeze(0)
    weight = reciprocal_amplitude(step.square(), torch.ones(1, 1, dtype=torch.float64), split).square()
    integral = (weight * 2 * math.pi * step.square()).sum() * 0.001 / (2 * math.pi) ** 3
    assert integral.item() == pytest.approx(split_self_interaction(split).item(), rel=1e-6)  # midpoint rule


def test_backgrounds_differ_by_the_widths():
    volume, split, width = (torch.tensor(x, dtype=torch.float64) for x in (50.0, 1.3, 0.9))
    point = background_interaction(volume, split, width, "point")
    gaussian = background_interaction(volume, split, width, "gaussian")
    assert point.item() == pytest.approx(-2 * math.pi * COULOMB * 1.3**2 / 50)
    assert (gaussian - point).item() == pytest.approx(2 * math.pi * COULOMB * 0.9 / 50)
