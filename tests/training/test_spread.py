import pytest
import torch

from cace_qeq.structures import PROPERTIES
from cace_qeq.training.loss import Comparison
from cace_qeq.training.spread import rank_correlation, spread_metrics

GENERATOR = torch.Generator().manual_seed(0)


def comparisons(predicted):
    """Of charges alone, labelled with zero."""
    empty = Comparison(*(torch.zeros(0, dtype=torch.float64),) * 4)
    filled = Comparison(torch.zeros_like(predicted), predicted, torch.ones_like(predicted), torch.ones_like(predicted))
    return tuple(filled if name == "charges" else empty for name in PROPERTIES)


def test_members_drawn_from_the_errors_own_distribution_are_calibrated():
    """Truth and four members from one normal distribution of a width that differs from value to value.

    The error of the mean has the variance w² (1 + 1/4), so the ratio is √1.25.
    """
    width = 0.1 + torch.rand(20000, generator=GENERATOR, dtype=torch.float64)
    draws = width * torch.randn(5, 20000, generator=GENERATOR, dtype=torch.float64)
    means, spreads = draws[1:].mean(dim=0) - draws[0], draws[1:].std(dim=0)
    parts = [slice(0, 7000), slice(7000, None)]
    found = spread_metrics([comparisons(means[p]) for p in parts], [comparisons(spreads[p]) for p in parts])
    assert found["spread_charges_rms_me"] == pytest.approx(1000 * float(width.square().mean().sqrt()), rel=0.02)
    assert found["spread_charges_error_ratio"] == pytest.approx(1.25**0.5, rel=0.02)
    assert 0.2 < found["spread_charges_correlation"] < 0.8
    assert found["spread_forces_error_ratio"] is None


def test_ranks_ignore_monotonic_changes():
    values = torch.tensor([0.3, -1.0, 2.0, 0.7])
    assert rank_correlation(values, values.exp()) == pytest.approx(1.0)
    assert rank_correlation(values, -values) == pytest.approx(-1.0)
