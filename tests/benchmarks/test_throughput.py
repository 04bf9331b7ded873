"""What is measured where."""

import pytest
import torch

import throughput
from throughput import chosen


def test_all_but_the_slow_items_unless_some_are_named():
    assert {"forces_192", "memory"} <= {item.name for item in chosen("", "cpu")}
    assert [item.name for item in chosen("forces_1536,memory", "cpu")] == ["forces_1536", "memory"]


def test_on_a_gpu_the_items_are_other_ones(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    (on_gpu,), (on_cpu,) = chosen("forces_1536", "cuda"), chosen("forces_1536", "cpu")
    assert throughput.CUDA_ITEMS[2] is on_gpu
    assert on_gpu.subjects != on_cpu.subjects


@pytest.mark.parametrize("device", ["tpu", "cuda"])
def test_a_device_that_is_not_there_is_refused(device, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=f"no device '{device}' here; choose cpu."):
        chosen("", device)


def test_unknown_items_are_refused():
    with pytest.raises(ValueError, match="no item 'speed'"):
        chosen("speed", "cpu")
