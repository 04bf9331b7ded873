import pytest
import torch
from torch import nn

import zoo
from cace_qeq.calculator import CACEQEqCalculator
from cace_qeq.checkpoint import load_model, save_model
from cace_qeq.nn.precision import KeepsDoubleBuffers
from small_models import untrained_model


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


@pytest.mark.parametrize("changes", [{"repulsion": "screened"}, {"charge_flow": "bonds"}], ids=str)
def test_a_file_says_the_same_however_it_comes_to_double_precision(tmp_path, changes):
    save_model(untrained_model(zoo.water(), **changes).float(), tmp_path / "model.safetensors")
    energies = []
    for model in (tmp_path / "model.safetensors", load_model(tmp_path / "model.safetensors", dtype=torch.float64)):
        atoms = zoo.water()
        atoms.calc = CACEQEqCalculator(model, dtype=torch.float64)
        energies.append(atoms.get_potential_energy())
    assert energies[0] == pytest.approx(energies[1], abs=1e-12)
