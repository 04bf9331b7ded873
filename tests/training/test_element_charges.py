import copy
from dataclasses import replace

import pytest
import torch

from cace_qeq.prediction import predict
from cace_qeq.training.data import joined
from cace_qeq.training.element_charges import element_parameters, fit_element_charges
from cace_qeq.training.prepare import prepare
from small_runs import small_config, trimers


@pytest.fixture
def prepared(tmp_path):
    weights = {"forces": 1}  # without charges, so that nothing is fitted beforehand
    return prepare(small_config(trimers(tmp_path), weights=weights, dtype="float32"))


def charge_error(model, example):
    return float((predict(model, example.batch).charges - example.labels.charges).square().mean())


def test_elements_that_made_the_charges_are_found(prepared):
    model, example = prepared.model, joined(prepared.train)
    start = [parameter.detach().clone() for parameter in element_parameters(model)]
    with torch.no_grad():
        for parameter in element_parameters(model):
            parameter.mul_(0.7)
    truth = replace(example, labels=replace(example.labels, charges=predict(model, example.batch).charges))
    with torch.no_grad():
        for parameter, value in zip(element_parameters(model), start, strict=True):
            parameter.copy_(value)
    before = charge_error(model, truth)
    fit_element_charges(model, [truth])
    assert charge_error(model, truth) < 1e-3 * before  # the prior and single precision keep it from zero


def test_frames_count_as_they_weigh(prepared):
    """Half of the charges belong to others, in frames that hardly count."""
    model, example = prepared.model, joined(prepared.train)
    other = copy.deepcopy(model)
    half = torch.arange(example.batch.n_structures) % 2 == 0
    charges = example.labels.charges.clone()
    charges[half[example.batch.structure]] *= -1
    weights = torch.where(half.unsqueeze(1), 1e-12, example.labels.weights)
    fit_element_charges(model, [replace(example, labels=replace(example.labels, charges=charges, weights=weights))])
    charges[half[example.batch.structure]] = torch.nan
    fit_element_charges(other, [replace(example, labels=replace(example.labels, charges=charges))])
    for found, expected in zip(element_parameters(model), element_parameters(other), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_only_the_elements_move(prepared):
    model = prepared.model
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fit_element_charges(model, prepared.train)
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    elements = {id(parameter) for parameter in element_parameters(model)}
    assert moved <= {name for name, parameter in model.named_parameters() if id(parameter) in elements}
    assert moved
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_without_labels_nothing_happens(prepared):
    before = {name: value.clone() for name, value in prepared.model.state_dict().items()}
    silent = joined(prepared.train)
    labels = replace(silent.labels, charges=torch.full_like(silent.labels.charges, torch.nan))
    fit_element_charges(prepared.model, [replace(silent, labels=labels)])
    assert all(torch.equal(value, before[name]) for name, value in prepared.model.state_dict().items())
