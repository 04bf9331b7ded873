import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from cace_qeq.conditions import Conditions, nothing_imposed
from cace_qeq.impose import Boundary, impose

PLACES = torch.tensor([[0.0, 0, 0], [0, 0, 2], [0, 2, 0], [2, 0, 0]], dtype=torch.float64)
CELL = 6.0 * torch.eye(3, dtype=torch.float64)
HALVES = [([0, 1], 0.5), ([2, 3], -0.5)]


def boundary(pbc=(False, False, False), total_charge=0.0):
    pbc = torch.tensor(pbc)
    return Boundary(PLACES, CELL * pbc.unsqueeze(1), pbc, total_charge)


OPEN, SLAB, PERIODIC = boundary(), boundary((True, True, False)), boundary((True, True, True))


def test_groups_become_labels_and_numbers():
    imposed = impose(Conditions(fragments=[([3, 1], 0.25)], field=[0.0, 0.1, 0.0]), OPEN)
    assert imposed.fragment.tolist() == [-1, 0, -1, 0]
    assert imposed.fragment_charge.tolist() == [0.25]
    assert imposed.potential.isnan().all()
    assert imposed.field.tolist() == [[0.0, 0.1, 0.0]]
    electrodes = impose(Conditions(electrodes=HALVES), OPEN)
    assert electrodes.potential.tolist() == [0.5, 0.5, -0.5, -0.5]


def test_atoms_that_bonds_connect_with_an_electrode_need_no_fragment():
    conditions = Conditions(electrodes=[([0, 1], 1.0)])
    found = impose(conditions, replace(boundary(total_charge=math.nan), bonded=True))
    assert found.potential[:2].tolist() == [1.0, 1.0]
    assert found.potential[2:].isnan().all()
    with pytest.raises(ValueError, match="atom 2 .2 in all. is in no electrode and in no fragment"):
        impose(conditions, boundary(total_charge=math.nan))


@pytest.mark.parametrize("kind", ["uint8", "int16", "uint16"])
def test_indices_of_any_kind_are_indices(kind):
    imposed = impose(Conditions(fragments=[(np.array([0, 2], dtype=kind), 0.5)]), OPEN)
    assert imposed.fragment.tolist() == [0, -1, 0, -1]


@pytest.mark.parametrize("groups", [5, np.array([[0, 1], [1, 0]]), "all"])
@pytest.mark.parametrize("name", ["fragments", "electrodes"])
def test_groups_that_are_no_list_are_refused(name, groups):
    with pytest.raises(ValueError, match=f"(?s){name} are .*, expected a list of pairs"):
        impose(Conditions(**{name: groups}), OPEN)


def test_no_conditions_impose_nothing():
    found, expected = impose(Conditions(), PERIODIC), nothing_imposed(4)
    assert found.fragment.tolist() == expected.fragment.tolist()
    assert found.field.tolist() == expected.field.tolist()


def test_point_charges_need_no_widths():
    around = Conditions(external_positions=[[6, -6, 2]], external_charges=[1.0])  # of an atom's image, were there any
    assert impose(around, OPEN).external.width.tolist() == [0.0]


@pytest.mark.parametrize(
    ("conditions", "where", "message"),
    [
        ({"fragments": [([0, 1], 0.0), ([1, 2], 0.0)]}, OPEN, "fragment 1 shares atom 1 with fragment 0"),
        ({"electrodes": [([0, 1], 0.0), ([1, 2], 0.0)]}, OPEN, "electrode 1 shares atom 1 with electrode 0"),
        ({"fragments": [([2, 2], 0.0)]}, OPEN, "shares an atom twice"),
        ({"fragments": [([4], 0.0)]}, OPEN, "expected 0 to 3"),
        ({"fragments": [([-1], 0.0)]}, OPEN, "expected 0 to 3"),
        ({"fragments": [([], 0.0)]}, OPEN, "one index or more"),
        ({"fragments": [([0.5], 0.0)]}, OPEN, "list of one index or more"),
        ({"fragments": [([0], math.nan)]}, OPEN, "number of fragment 0 is nan"),
        ({"fragments": [([0, 1], 1.0), ([2, 3], 1.0)]}, OPEN, "2 e, the total charge is 0 e.*contradict"),
        ({"fragments": [([0], 0.0)], "electrodes": [([0, 1], 1.0)]}, OPEN, "atom 0 is in fragment 0.*electrode 0"),
        ({}, boundary(total_charge=math.nan), "leaves it to electrodes, but there are none"),
        ({"fragments": HALVES}, boundary(total_charge=math.nan), "leaves it to electrodes, but there are none"),
        ({"electrodes": [([0, 1], 1.0)]}, OPEN, "atom 2 .2 in all. is in no electrode and in no fragment"),
        ({"electrodes": HALVES}, boundary((True, True, False), math.nan), "no vacuum as reference"),
        ({"electrodes": HALVES}, boundary((True, True, True), math.nan), "no vacuum as reference"),
        ({"electrodes": [(range(4), 1.0)]}, OPEN, "fixed, so .* no reference; give no total charge, which"),
        ({"electrodes": [(range(4), 1.0)]}, SLAB, "is periodic, so .* no reference; give electrodes at different"),
        ({"electrodes": [(range(4), 1.0)]}, boundary((True, True, True), math.nan), "give electrodes at different"),
        ({"field": [0.0, 0.1, 0.2]}, SLAB, "component along a periodic direction"),
        ({"field": [0.0, 0.0, 0.2]}, PERIODIC, "component along a periodic direction"),
        (
            {"field": [0.0, 0.0, 0.2]},
            boundary((True, True, False), 1.0),
            "field on a periodic structure of total charge 1 e",
        ),
        ({"field": [0.1, 0.2]}, OPEN, "field has shape"),
        ({"field": "up"}, OPEN, "field is 'up', expected finite numbers"),
        ({"field": 0.5}, OPEN, "field is 0.5, expected finite numbers"),
        ({"fragments": [([0], "one")]}, OPEN, "number of fragment 0 is 'one', expected finite numbers"),
        ({"field": [0.1, 0.2, math.inf]}, OPEN, "field is .*expected finite"),
        ({"external_positions": [[6, -6, 2]], "external_charges": [1.0]}, SLAB, "from an atom"),
        ({"external_positions": [[0, 0, 2]], "external_charges": [1.0]}, OPEN, "from an atom"),
        ({"external_positions": [[5, 0, 0]], "external_charges": [1.0, 2.0]}, OPEN, "expected as many of each"),
        (
            {"external_positions": [[5, 0, 0]], "external_charges": [1.0], "external_widths": [-1.0]},
            OPEN,
            "widths of zero or more",
        ),
    ],
)
def test_impossible_conditions_are_explained(conditions, where, message):
    with pytest.raises(ValueError, match=message):
        impose(Conditions(**conditions), where)


def test_neutral_fragments_may_be_in_a_field_along_bonds():
    conditions = Conditions(fragments=[([0], 0.0)], field=[0.0, 0.0, 0.1])
    assert impose(conditions, replace(PERIODIC, bonded=True)).field.tolist() == [[0.0, 0.0, 0.1]]


def test_infinite_total_charges_are_refused():
    with pytest.raises(ValueError, match="total charge is inf, expected a finite number"):
        impose(Conditions(), boundary(total_charge=math.inf))
