import torch
from torch import nn

from cace_qeq.training.average import MovingAverage


def module(value):
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, value)
    return layer


def test_average_follows_and_leaves_the_model_alone():
    model = module(1.0)
    average = MovingAverage(model, decay=0.5)
    nn.init.constant_(model.weight, 3.0)
    for step in range(100, 103):
        average.update(model, step)
    assert float(average.model.weight.detach()) == 3.0 - 2.0 * 0.5**3
    assert float(model.weight.detach()) == 3.0
    assert not average.model.weight.requires_grad


def test_buffers_are_those_of_the_model():
    model = nn.BatchNorm1d(2)
    average = MovingAverage(model, decay=0.999)
    model.running_mean.fill_(3.0)
    average.update(model, 1000)
    assert average.model.running_mean.tolist() == [3.0, 3.0]


def test_the_start_is_forgotten():
    model = module(0.0)
    average = MovingAverage(model, decay=0.999)
    nn.init.constant_(model.weight, 1.0)
    for step in range(1, 101):
        average.update(model, step)
    assert torch.isclose(average.model.weight.detach(), torch.ones(1, 1), atol=1e-3).all()
