"""One optimiser for every code, which finds matrices where a code's equations have them."""

from dataclasses import dataclass
from math import prod

import torch
from torch.nn import Parameter

LARGEST_ROTATED = 600  # side of a matrix for which soap finds axes


@dataclass(frozen=True)
class Piece:
    """A part of a vector of weights, in the shape that it stands for, and in the same memory.

    weight  the vector, or a tensor that is its own and only piece
    start   first of its numbers
    view    what the optimiser moves
    """

    weight: Parameter
    start: int
    view: Parameter

    def take_gradient(self) -> None:
        """From the vector."""
        if self.view is not self.weight and self.weight.grad is not None:
            part = self.weight.grad[self.start : self.start + self.view.numel()]
            self.view.grad = part.view_as(self.view)


class Optimizer:
    """AdamW or SOAP, as `cace-qeq train` makes them; only soap asks for a package beyond those of the codes.

    SOAP finds axes of matrices and none of vectors, and e3nn keeps the matrices of a linear map in one vector: they are
    taken apart for it, since otherwise most weights of MACE and NequIP would be left to Adam.
    """

    def __init__(self, name: str, model: torch.nn.Module):
        self.pieces = whole(model) if name == "adamw" else apart(model)
        self.steps = made(name, [piece.view for piece in self.pieces])

    def step(self, learning_rate: float) -> None:
        """By the gradients of the weights."""
        for group in self.steps.param_groups:
            group["lr"] = learning_rate
        for piece in self.pieces:
            piece.take_gradient()
        self.steps.step()

    def zero_grad(self) -> None:
        for piece in self.pieces:
            piece.weight.grad = piece.view.grad = None


def made(name: str, weights: list[Parameter]) -> torch.optim.Optimizer:
    if name == "adamw":
        return torch.optim.AdamW(weights, weight_decay=0.0)
    from pytorch_optimizer import SOAP

    return SOAP(weights, weight_decay=0.0, max_precondition_dim=LARGEST_ROTATED)


def whole(model: torch.nn.Module) -> list[Piece]:
    return [Piece(weight, 0, weight) for weight in model.parameters() if weight.requires_grad]


def apart(model: torch.nn.Module) -> list[Piece]:
    """Vectors that hold matrices matrix by matrix, all else whole."""
    shapes, pieces = shapes_in_vectors(model), list[Piece]()
    for one in whole(model):
        start = 0
        for shape in shapes.get(id(one.weight), ()):
            view = Parameter(one.weight.detach()[start : start + prod(shape)].view(shape))
            pieces.append(Piece(one.weight, start, view))
            start += prod(shape)
        if start == 0:
            pieces.append(one)
    return pieces


def shapes_in_vectors(model: torch.nn.Module) -> dict[int, list[tuple[int, ...]]]:
    """Of what e3nn's linear maps and tensor products keep one after the other in a vector, by the vector's id."""
    found = {}
    for module in model.modules():
        weight = dict(module.named_parameters(recurse=False)).get("weight")
        if weight is None or weight.ndim != 1:
            continue
        paths = [path for path in getattr(module, "instructions", ()) if getattr(path, "has_weight", True)]
        shapes = [tuple(path.path_shape) for path in paths]
        if sum(map(prod, shapes)) == weight.numel():
            found[id(weight)] = shapes
    return found
