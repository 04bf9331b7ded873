"""Charges that other programs computed: OpenMM for a triclinic cell, n2p2 for three benchmarks."""

import json
from pathlib import Path

import pytest
import torch

from cace_qeq.electrostatics import Solver, solve_charges
from cace_qeq.units import COULOMB

REFERENCE = Path(__file__).parents[3] / "shared" / "reference"
BOHR = 0.529177210903  # Å
HARTREE = COULOMB / BOHR  # eV, so that k_e is exactly 1 Hartree Bohr / e², as n2p2 has it
AGREEMENT_WITH_N2P2 = {"Carbon_chain": 1e-12, "H2O_RPBE-D3": 2e-6, "AlAuMgO": 1e-3}  # its own Ewald cutoffs

SOLVERS = [Solver(method, 1e-12, mesh_accuracy=1e-12) for method in ("dense", "structure_factors", "mesh")]


def recorded(name: str) -> dict:
    path = REFERENCE / name
    if not path.exists():
        pytest.skip(f"no reference numbers at {path}")
    return json.loads(path.read_text())


def tensor(values) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda solver: solver.method)
@pytest.mark.parametrize("total_charge", [0.0, 2.0, -1.0])
@pytest.mark.parametrize(
    ("background", "source"), [("point", "openmm"), ("point", "point_bg"), ("gaussian", "gauss_k0")]
)
def test_triclinic_cell(solver, total_charge, background, source):
    record = recorded("qeq_synthetic_openmm.json")
    (case,) = [case for case in record["cases"] if case["Q"] == total_charge]
    found = solve_charges(
        record["positions"],
        record["cell"],
        True,
        record["chi"],
        record["J"],
        record["sigma"],
        total_charge,
        background,
        solver,
    )
    assert record["ke"] == COULOMB
    assert torch.allclose(found.charges, tensor(case[f"q_{source}"]), rtol=0, atol=1e-10)
    assert found.energy.item() == pytest.approx(case[f"E_{source}"], abs=1e-9)
    if source != "openmm":  # which gives no multiplier
        assert found.multiplier.item() == pytest.approx(case[f"lambda_{source}"], abs=1e-10)


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda solver: solver.method)
@pytest.mark.parametrize("name", AGREEMENT_WITH_N2P2)
def test_benchmarks_of_n2p2(solver, name):
    record = recorded(f"qeq_n2p2_{name}.json")
    hardness, width = (tensor([record[key][symbol] for symbol in record["symbols"]]) for key in ("hardness", "sigma"))
    found = solve_charges(
        BOHR * tensor(record["positions"]),
        BOHR * tensor(record["cell"]) if record["periodic"] else None,
        record["periodic"],
        HARTREE * tensor(record["chi"]),
        HARTREE * hardness,
        BOHR * width,
        record["total_charge"],
        solver=solver,
    )
    assert torch.allclose(found.charges, tensor(record["q_converged"]), rtol=0, atol=1e-10)
    assert torch.allclose(found.charges, tensor(record["q_n2p2"]), rtol=0, atol=AGREEMENT_WITH_N2P2[name])
    assert found.multiplier.item() / HARTREE == pytest.approx(record["lambda_converged"], abs=1e-10)
    assert found.energy.item() / HARTREE == pytest.approx(record["E_qeq_converged"], abs=1e-10)
