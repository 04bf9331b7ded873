"""Tables that are made once serve whoever comes next."""

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
