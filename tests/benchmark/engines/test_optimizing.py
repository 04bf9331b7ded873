"""Vectors that hold matrices are trained as these matrices would be by themselves."""

from typing import NamedTuple

import pytest
import torch

from cace_qeq.benchmark.engines.optimizing import Optimizer, apart

TARGET = torch.linspace(-2, 3, 30, dtype=torch.float64).view(5, 6).sin()


class Path(NamedTuple):
    """As e3nn tells what its modules do."""

    path_shape: tuple[int, ...]
    has_weight: bool = True


class Flat(torch.nn.Module):
    """Two matrices in a vector, and a constant."""

    instructions = (Path((3, 4)), Path((), has_weight=False), Path((4, 2)))

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.linspace(-1, 1, 20, dtype=torch.float64))
        self.constant = torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))

    def matrices(self) -> list[torch.Tensor]:
        return [self.weight[:12].view(3, 4), self.weight[12:].view(4, 2)]


class Matrices(torch.nn.Module):
    """The same with a parameter for each."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = (torch.nn.Parameter(matrix.detach().clone()) for matrix in Flat().matrices())
        self.constant = torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))

    def matrices(self) -> list[torch.Tensor]:
        return [self.first, self.last]


def trained(model: torch.nn.Module, name: str) -> list[torch.Tensor]:
    optimizer, inputs = Optimizer(name, model), TARGET[:, :3]
    for _ in range(30):
        optimizer.zero_grad()
        first, last = model.matrices()
        (torch.tanh(inputs @ first) @ last + model.constant - TARGET[:, 3:5]).square().mean().backward()
        optimizer.step(0.02)
    return [value.detach() for value in (*model.matrices(), model.constant)]


@pytest.mark.parametrize("name", ["soap", "adamw"])
def test_a_vector_learns_what_its_matrices_learn(name):
    torch.testing.assert_close(trained(Flat(), name), trained(Matrices(), name), rtol=0, atol=0)


def test_soap_sees_the_matrices_and_adam_the_weights():
    model = Flat()
    assert [tuple(piece.view.shape) for piece in apart(model)] == [(3, 4), (4, 2), (2,)]
    assert [piece.view for piece in Optimizer("adamw", model).pieces] == list(model.parameters())


def test_a_vector_that_is_not_what_its_module_says_stays_whole():
    model = Flat()
    model.instructions = (Path((3, 4)),)
    assert [tuple(piece.view.shape) for piece in apart(model)] == [(20,), (2,)]
