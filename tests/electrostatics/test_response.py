import pytest
import torch

from cace_qeq.electrostatics import (
    ChargeParameters,
    Solver,
    Task,
    along_lattice,
    coulomb_matrix,
    find_charges,
    total_charge_alone,
)
from cace_qeq.electrostatics.response import Driven, fukui_and_hardness, polarizability
from charged_structures import crystal, geometry_of, joined, molecule, slab
from iterative_structures import prepared

ZOO = {"ion": molecule(5, 1.0), "slab": slab(5), "crystal": crystal(6)}


def driven_by(geometry, parameters, total, method="dense"):
    electronegativity = parameters.electronegativity.clone().requires_grad_()
    total_charge = torch.tensor(total, dtype=torch.float64, requires_grad=True)
    field = torch.zeros(len(total), 3, dtype=torch.float64, requires_grad=True)
    upright = field - along_lattice(geometry, field)
    potential = -(geometry.positions * upright[geometry.structure]).sum(1)
    felt = ChargeParameters(electronegativity + potential, parameters.hardness, parameters.width)
    task = Task(geometry, felt, total_charge_alone(geometry, total_charge), torch.zeros_like(parameters.width))
    solver = Solver(method, tolerance=1e-12)
    found = find_charges(task, "point", solver)
    nothing = torch.full((len(total), 3), torch.nan, dtype=torch.float64)
    return Driven(geometry, task.constraints, found, nothing, electronegativity, total_charge, field)


def driven(structure, method="dense"):
    return driven_by(prepared(structure, method), structure.parameters, [structure.total_charge], method)


def softness(structure):
    """S = K⁻¹ - K⁻¹ 1 1ᵀ K⁻¹ / (1ᵀ K⁻¹ 1), and the two factors."""
    matrix = coulomb_matrix(geometry_of(structure), structure.width)[0] + torch.diag(structure.hardness)
    inverse = torch.linalg.inv(matrix)
    sums = inverse.sum(1)
    return inverse - torch.outer(sums, sums) / sums.sum(), sums / sums.sum(), 1 / sums.sum()


@pytest.mark.parametrize("method", ["dense", "structure_factors"])
def test_polarizability_of_a_molecule_is_the_written_formula(method):
    structure = ZOO["ion"]
    expected = structure.positions.T @ softness(structure)[0] @ structure.positions
    found = polarizability(driven(structure, method))[0]
    assert torch.allclose(found, expected, rtol=0, atol=1e-10)
    assert torch.linalg.eigvalsh(found).min() > 0


def test_polarizability_of_a_slab_is_across_its_plane():
    structure = ZOO["slab"]
    normal = geometry_of(structure).normal[0]
    heights = structure.positions @ normal
    expected = heights @ softness(structure)[0] @ heights * torch.outer(normal, normal)
    assert torch.allclose(polarizability(driven(structure))[0], expected, rtol=0, atol=1e-10)


def test_crystals_have_neither_dipole_nor_polarizability():
    answer = driven(ZOO["crystal"])
    assert polarizability(answer).isnan().all()
    assert answer.dipoles.isnan().all()


@pytest.mark.parametrize("method", ["dense", "structure_factors"])
@pytest.mark.parametrize("structure", ZOO.values(), ids=ZOO)
def test_fukui_functions_and_hardness_are_the_written_formulas(structure, method):
    _, expected, stiffness = softness(structure)
    fukui, hardness = fukui_and_hardness(driven(structure, method))
    assert torch.allclose(fukui, expected, rtol=0, atol=1e-10)
    assert fukui.sum().item() == pytest.approx(1.0, abs=1e-11)
    assert hardness.item() == pytest.approx(stiffness.item(), abs=1e-9)


def test_a_batch_of_all_boundaries():
    structures = list(ZOO.values())
    parameters = ChargeParameters(
        *(torch.cat([getattr(s, name) for s in structures]) for name in ("electronegativity", "hardness", "width"))
    )
    together = driven_by(joined([geometry_of(s) for s in structures]), parameters, [s.total_charge for s in structures])
    alone = torch.cat([polarizability(driven(structure)) for structure in structures])
    assert torch.allclose(polarizability(together), alone, rtol=0, atol=1e-11, equal_nan=True)


def test_two_atoms_in_closed_form():
    """At distance d: α = d² / (K₁₁ + K₂₂ - 2 K₁₂) along their axis."""
    structure = molecule(2)
    matrix = coulomb_matrix(geometry_of(structure), structure.width)[0] + torch.diag(structure.hardness)
    axis = structure.positions[1] - structure.positions[0]
    expected = torch.outer(axis, axis) / (matrix[0, 0] + matrix[1, 1] - 2 * matrix[0, 1])
    assert torch.allclose(polarizability(driven(structure))[0], expected, rtol=0, atol=1e-12)
