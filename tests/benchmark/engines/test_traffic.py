"""Bytes that operations read and write, counted by hand."""

import torch

from cace_qeq.benchmark.engines.serving import Traffic


def test_a_product_reads_its_factors_and_writes_its_result():
    left, right = torch.zeros(10, 20), torch.zeros(20, 30)
    with Traffic() as traffic:
        left @ right
    assert traffic.bytes == 4 * (10 * 20 + 20 * 30 + 10 * 30)


def test_views_and_allocations_are_free_and_expanded_tensors_small():
    value = torch.zeros(8, 1, dtype=torch.float64)
    with Traffic() as traffic:
        value.expand(8, 100).transpose(0, 1)
        value.new_empty(1000)
    assert traffic.bytes == 0
    with Traffic() as traffic:
        value.expand(8, 100).sum()
    assert traffic.bytes == 8 * (8 + 1)


def test_gradients_count():
    value = torch.ones(50, requires_grad=True)
    with Traffic() as forward:
        energy = value.square().sum()
    with Traffic() as backward:
        torch.autograd.grad(energy, value)
    assert forward.bytes == 4 * (50 + 50 + 50 + 1)
    assert backward.bytes >= 4 * 3 * 50
