import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from cace_qeq.charged import Charged
from cace_qeq.doctor.charges import equations
from cace_qeq.model import CACEQEq
from cace_qeq.nn.charges import HARDNESS_UNIT
from cace_qeq.structures import AtomicBatch
from sick_models import copied, failed, healthy, on
from small_models import crystal, untrained_model

RESIDUAL, SUM, CONDITION = (
    "residual of the charge equations",
    "charge sum, all constraints",
    "condition number of the charge equations",
)


class Leaking(CACEQEq):
    """One part in a million of every charge is lost."""

    def charged(self, batch: AtomicBatch, features: Tensor, species: Tensor) -> Charged:
        found = super().charged(batch, features, species)
        charges = (1 - 1e-6) * found.equilibrium.charges
        return replace(found, equilibrium=replace(found.equilibrium, charges=charges))


@pytest.mark.parametrize("changes", [{}, {"closed_shells": True}, {"charge_flow": "bonds"}], ids=str)
@pytest.mark.parametrize("structure", ["charged molecule", "skewed crystal"])
def test_equations_of_healthy_models_are_solved(changes, structure):
    assert failed(equations(on(untrained_model(crystal(), **changes), structure))) == []


def test_charges_that_leak_are_caught():
    assert failed(equations(on(copied(Leaking), "charged molecule"))) == [RESIDUAL, SUM]
    assert failed(equations(on(copied(Leaking), "skewed crystal"))) == [RESIDUAL]  # nothing is left of nothing


def test_the_loss_is_measured():
    found = {check.name: check.value for check in equations(on(copied(Leaking), "charged molecule"))}
    assert found[SUM] == pytest.approx(1e-6, rel=1e-6)  # of one charge


def test_atoms_of_very_different_hardness_are_caught():
    model = untrained_model(crystal())
    with torch.no_grad():
        model.charge_heads.hardness.raw[0] = 1e9 / HARDNESS_UNIT
    patient = on(model, "skewed crystal")
    condition = equations(patient)[2]
    assert (condition.name, condition.passed) == (CONDITION, False)
    assert 1e7 < condition.value < math.inf


def test_a_model_without_charges_has_no_equations():
    assert equations(on(untrained_model(crystal(), energy="none"), "molecule")) == []


def test_the_healthy_model_is_well_conditioned():
    assert 1 <= equations(on(healthy(), "skewed crystal"))[2].value < 100
