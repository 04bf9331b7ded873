import math

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

import zoo
from cace_qeq.doctor import Check, examine, samples
from cace_qeq.model import CACEQEq, Energies
from cace_qeq.structures import AtomicBatch
from sick_models import copied, failed, healthy
from small_models import crystal, untrained_model

KINDS = {
    "coulomb": {"energy": "coulomb", "charge_feedback": "readout"},
    "shells": {"closed_shells": True},
    "bonds": {"charge_flow": "bonds"},
    "bonds and shells": {"charge_flow": "bonds", "closed_shells": True},
    "none": {"energy": "none"},
    "equivariant": {"message_rank": 1, "layers": 2},
}


BOUNDARIES = [
    zoo.charged_slab,
    zoo.far_dimer,
    zoo.primitive_salt,
    zoo.slab_in_surroundings,
    zoo.crystal_in_surroundings,
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_model_is_healthy(kind):
    model = untrained_model(crystal(), **KINDS[kind])
    assert failed(list(examine(model, samples(model.config.species)["skewed crystal"]))) == []


@pytest.mark.parametrize("make", BOUNDARIES, ids=lambda make: make.__name__)
def test_every_boundary(make):
    assert failed(list(examine(healthy(), make()))) == []


def test_conditions_of_a_structure_count():
    atoms = zoo.charged(samples([11, 17])["molecule"], 1.0)
    atoms.info.pop("charge")
    atoms.arrays["charge_fragment"] = np.array([0, 0, -1, -1, -1])
    atoms.info.update(fragment_charges=[0.5], electric_field=[0.0, 0.1, 0.2])
    atoms.info.update(external_positions=[[9.0, 0, 0], [0, -9.0, 0]], external_charges=[1.0, -1.0])
    assert failed(list(examine(healthy(), atoms))) == []


def test_single_precision_and_the_model_itself_are_left_alone():
    model = untrained_model(crystal()).float()
    assert failed(list(examine(model, samples([11, 17])["molecule"]))) == []
    assert model.dtype == torch.float32


class Broken(CACEQEq):
    def forward(self, batch: AtomicBatch) -> Energies:
        raise ValueError("no energy today")


def test_what_breaks_down_has_failed_with_its_reason():
    names = failed(list(examine(copied(Broken), samples([11, 17])["molecule"])))
    assert "symmetry broke down: no energy today" in names


def test_bad_structures_are_errors_and_not_diagnoses():
    with pytest.raises(ValueError, match="atom 0 is Ag, but the model knows Na, Cl"):
        list(examine(healthy(), Atoms("Ag")))
    with pytest.raises(ValueError, match="512 atoms, expected 500 at most"):
        list(examine(healthy(), bulk("NaCl", "rocksalt", a=5.6, cubic=True).repeat(4)))
    with pytest.raises(ValueError, match="Å apart"):
        list(examine(healthy(), Atoms("Na2")))


def test_what_is_not_a_number_does_not_pass():
    assert not Check("", math.nan, 1.0, "").passed
    assert Check("", 1.0, 1.0, "").passed
