import pytest
import torch
from torch.nn import Parameter

from cace_qeq.config import ModelConfig
from cace_qeq.model import CACEQEq
from cace_qeq.training.config import TrainingConfig
from cace_qeq.training.optimizer import optimizer_of, parameter_groups


def steep_valley(axes):
    """A quadratic form of a matrix, a thousand times steeper along the first of its axes than along the last."""
    steepness = torch.logspace(0, -3, len(axes), dtype=torch.float64)
    return lambda matrix: (steepness * (axes.T @ matrix).square().sum(1)).sum()


def loss_after(name, axes, steps=300):
    function, matrix = steep_valley(axes), Parameter(torch.ones(6, 4, dtype=torch.float64))
    optimizer = optimizer_of(TrainingConfig(output="unused", optimizer=name), [("weight", matrix)])
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 0.1 * (1 - step / steps)
        optimizer.zero_grad()
        function(matrix).backward()
        optimizer.step()
    return float(function(matrix.detach()))


def test_soap_finds_the_axes_of_a_valley_that_adam_does_not_know():
    torch.manual_seed(0)
    axes = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64))[0]
    assert loss_after("soap", axes) < 0.1 * loss_after("adamw", axes)


@pytest.mark.parametrize("name", ["soap", "adamw"])
def test_matrices_decay_and_vectors_do_not(name):
    matrix, vector = Parameter(torch.ones(2, 2)), Parameter(torch.ones(2))
    named = [("weight", matrix), ("offset", vector)]
    optimizer = optimizer_of(TrainingConfig(output="unused", optimizer=name, weight_decay=0.5), named)
    for group in optimizer.param_groups:
        group["lr"] = 0.1
    for _ in range(2):  # soap's first step only looks at the gradient
        (0.0 * (matrix.sum() + vector.sum())).backward()
        optimizer.step()
    assert (matrix < 1).all() and (vector == 1).all()


def test_walls_and_gates_stay_where_they_are_under_weight_decay():
    """Pulled to zero they would hold every ion at no charge and make every atom deaf."""
    config = ModelConfig(species=(11, 17), cutoff=4.0, layers=2, channels=4, closed_shells=True)
    model = CACEQEq(config)
    decaying, kept = parameter_groups(model.named_parameters(), 0.1)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert len(decaying["params"]) + len(kept["params"]) == len(names)
    still = {names[id(parameter)] for parameter in kept["params"]}
    assert {"shell_walls.place", "shell_walls.stiffness", "representation.layers.1.receiver"} <= still
    assert {names[id(p)] for p in decaying["params"]} >= {"representation.layers.0.mixings.0.weights.0"}


def test_where_ions_are_charged_is_left_alone_by_weight_decay():
    model = CACEQEq(ModelConfig(species=(11, 17), cutoff=4.0, layers=1, channels=4, charge_flow="bonds"))
    kept = parameter_groups(model.named_parameters(), 0.1)[1]["params"]
    assert any(parameter is model.wiring.excess.offset for parameter in kept)
