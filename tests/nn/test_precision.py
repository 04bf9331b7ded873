import torch
from torch import nn

from cace_qeq.nn.precision import KeepsDoubleBuffers


class Holder(KeepsDoubleBuffers):
    double_buffers = ("precise",)

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))
        self.register_buffer("precise", torch.tensor([-37797.123456789], dtype=torch.float64))
        self.register_buffer("plain", torch.ones(1))


def test_double_buffers_keep_their_digits_when_the_network_becomes_single():
    holder = nn.Sequential(Holder()).double().float()[0]
    assert holder.precise.item() == -37797.123456789
    assert holder.weight.dtype == holder.plain.dtype == torch.float32


def test_the_rest_becomes_double():
    holder = Holder().double()
    assert holder.weight.dtype == holder.plain.dtype == torch.float64
