"""What all generated code has in common: the compiler, shapes, and the question whether it is right."""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from cace_qeq.features import free_calls

SLOTS = 8  # by which tables of neighbours grow
# of torch 2.13 the pattern matcher gets some gradients wrong that were recorded with their function, and buffers that
# take the place of others overwrite what is asked for later
INDUCTOR: dict[str, str | int | bool | Callable[..., Any]] = {"pattern_matcher": False, "inplace_buffers": False}
IN_ONE_CALL = {"cpp_wrapper": True}  # no Python between the kernels
LEAST_ROUNDING = {torch.float32: 1e-5, torch.float64: 1e-12}  # that is expected, relative to the largest value
MOST_ROUNDING = 10.0  # times that of the network: sums are taken in another order

Tensors = tuple[Tensor, ...]
Code = Callable[..., Tensors]


class Watched:
    """Parameters and buffers of a module, which code is generated for as they are.

    Modules that are replaced are not seen, nor what is written into `.data`, past torch's own count.
    """

    def __init__(self, module: nn.Module):
        homes = [home for part in module.modules() for home in (part._parameters, part._buffers)]
        present = [(home, name, tensor) for home in homes for name, tensor in home.items() if tensor is not None]
        self.places = [(home, name, tensor, tensor.data_ptr()) for home, name, tensor in present]
        self.written = self.times_written()

    def times_written(self) -> int:
        return times_written(tensor for _, _, tensor, _ in self.places)

    @property
    def has_changed(self) -> bool:
        """Whether one of them has been replaced, or anything written into it."""
        replaced = any(
            home.get(name) is not tensor or tensor.data_ptr() != address for home, name, tensor, address in self.places
        )
        return replaced or self.times_written() != self.written


def times_written(tensors: Iterable[Tensor]) -> int:
    """How often torch has seen anything written into them."""
    return sum(0 if tensor.is_inference() else tensor._version for tensor in tensors)


@contextmanager
def compiler_at_hand() -> Iterator[None]:
    """Raise ValueError where torch finds no compiler, or one that fails."""
    lowering = logging.getLogger("torch._inductor.ir")  # warns of operations that generated code calls through Python
    level = lowering.level
    lowering.setLevel(logging.ERROR)
    try:
        yield
    except RuntimeError as error:
        if not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"no code could be generated ({reason}); install a C++ compiler such as g++, or do without compiling."
        ) from error
    finally:
        lowering.setLevel(level)


def recorded(function: Callable[..., Any], *examples: Any) -> GraphModule:
    """The operations of a function, which depend on no values."""
    from torch.fx.experimental.proxy_tensor import make_fx  # here, as it takes a second

    with free_calls():
        return make_fx(function)(*examples)


def made_of(operations: GraphModule, tensors: Tensors) -> Code:
    """Code without the guards of torch.compile, which for a molecule take a fifth of its time.

    tensors  like those that it will be called with; of their values none matters
    """
    from torch._subclasses.fake_tensor import FakeTensorMode  # here, as they take a second
    from torch.fx.experimental.symbolic_shapes import ShapeEnv

    for node in operations.graph.nodes:
        node.meta.clear()  # examples, each recorded apart
    examples = FakeTensorMode(shape_env=ShapeEnv())  # which torch needs to find code that it has made before
    alike: list[Any] = [examples.from_tensor(tensor, static_shapes=True) for tensor in tensors]
    code: Code = torch._inductor.compile(operations, alike, options=INDUCTOR | IN_ONE_CALL)
    return code


def refuse_beyond_rounding(found: Tensors, own: Tensors, exact: Tensors, dtype: torch.dtype, advice: str) -> None:
    """Raise RuntimeError where generated code does not say what the network says; the tensors of `times_rounding`."""
    times = times_rounding(found, own, exact, LEAST_ROUNDING[dtype])
    if not times < MOST_ROUNDING:
        raise RuntimeError(
            f"the generated code differs from the network by {times:.2g} times its rounding errors; {advice}, "
            "and report this with the versions of torch and the compiler."
        )


def times_rounding(found: Tensors, own: Tensors, exact: Tensors, least: float) -> float:
    """How many times as far from exact values as a function's own values others are, at most; NaN if one is.

    found, own  from computing in the precision of the function
    exact       in double precision
    least       error of the function's own that is expected, relative to the largest value
    """
    times = []
    for one, other, true in zip(found, own, exact, strict=True):
        away, rounding = ((value - true).abs().max() / true.abs().max().clamp(min=1e-30) for value in (one, other))
        times.append(away / rounding.clamp(min=least))
    return float(torch.stack(times).max().detach())


def rounded_up(number: int, unit: int) -> int:
    """A multiple of the unit, and at least one."""
    return unit * max(1, -(-number // unit))
