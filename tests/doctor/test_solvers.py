from dataclasses import replace

import pytest

from cace_qeq.doctor.solvers import agreement
from cace_qeq.model import CACEQEq, Energies
from cace_qeq.structures import AtomicBatch
from sick_models import copied, failed, on
from small_models import crystal, untrained_model


@pytest.mark.parametrize("flow", ["free", "bonds"])
@pytest.mark.parametrize("structure", ["charged molecule", "skewed crystal", "skewed slab"])
def test_solvers_agree_in_a_healthy_model(structure, flow):
    assert failed(agreement(on(untrained_model(crystal(), charge_flow=flow), structure))) == []


class BadMesh(CACEQEq):
    def forward(self, batch: AtomicBatch) -> Energies:
        energies = super().forward(batch)
        error = 1.001 if self.solver.method == "mesh" else 1.0
        return replace(energies, charges=error * energies.charges)


def test_a_solver_that_differs_is_named():
    assert failed(agreement(on(copied(BadMesh), "skewed crystal"))) == ["mesh against dense: charges"]
