"""Tables that are made once serve whoever comes next."""

import copy

import pytest
import torch

from cace_qeq.features import angular, quadrature, radial
from cace_qeq.features.harmonics import coefficient_tensor
from cace_qeq.features.products import ProductProgram
from cace_qeq.prediction import differentiable_predict
from cace_qeq.structures import to_batch
from small_models import crystal, untrained_model

TABLES = (
    radial.radial_functions,
    angular.angular_monomials,
    angular.angular_harmonics,
    coefficient_tensor,
    quadrature.sphere_products,
    quadrature.SphereProducts.to,
    ProductProgram.to,
)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_model_learns_after_it_was_used_for_inference(rank):
    model = untrained_model(crystal(), message_rank=rank, layers=2)
    batch = to_batch(crystal(), model.geometry, 0.0)
    for table in TABLES:
        table.cache_clear()
    with torch.inference_mode():
        model(batch)
    differentiable_predict(model, batch).forces.square().sum().backward()
    assert any(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters())


@pytest.mark.parametrize("rank", [0, 1])
def test_copies_of_a_model_share_its_tables(rank):
    """A calculator is a copy; what it has made would stay as long as the process."""
    model = untrained_model(crystal(), message_rank=rank, layers=2)
    batch = to_batch(crystal(), model.geometry, 0.0)
    model(batch)
    made = [table.cache_info().currsize for table in TABLES]
    copy.deepcopy(model)(batch)
    assert [table.cache_info().currsize for table in TABLES] == made
