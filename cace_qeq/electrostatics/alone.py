"""Charges of one molecule or crystal under its total charge alone, by operations that depend on no values: they can be
recorded."""

import torch
from torch import Tensor

from cace_qeq.electrostatics.bonds import BondEquations, laplacian_of
from cace_qeq.electrostatics.by_forms import equilibrium_of
from cace_qeq.electrostatics.circuit import Wiring
from cace_qeq.electrostatics.conjugate_gradients import Constraint
from cace_qeq.electrostatics.coulomb_forms import real_space, waves_of
from cace_qeq.electrostatics.direct import AllPairs
from cace_qeq.electrostatics.forms import Diagonal, Form, Sum, Uniform
from cace_qeq.electrostatics.geometry import ChargeGeometry
from cace_qeq.electrostatics.implicit import Problem, Solve
from cace_qeq.electrostatics.kernels import (
    Background,
    background_interaction,
    self_interaction,
    split_self_interaction,
)
from cace_qeq.electrostatics.matrix import open_pairs
from cace_qeq.electrostatics.qeq import ChargeParameters, Equilibrium


def equilibrate_molecule(
    positions: Tensor, parameters: ChargeParameters, total_charge: Tensor
) -> tuple[Equilibrium, Tensor]:
    """As `equilibrate`, of one open structure.

    positions     (atom, 3)  Å
    parameters    of the atoms; χ with what is imposed on it
    total_charge  (1,)       e
    returns       the equilibrium, and () int32, not zero where K is not positive definite
    """
    own = parameters.hardness + self_interaction(parameters.width)
    return _equilibrate(Sum([Diagonal(own), AllPairs(positions, parameters.width.square())]), parameters, total_charge)


def equilibrate_molecule_along_bonds(
    positions: Tensor, parameters: ChargeParameters, total_charge: Tensor, wiring: Wiring
) -> tuple[Equilibrium, Tensor]:
    """The same where charge flows along bonds, as by `equilibrate_bonds`.

    returns  the equilibrium, without multipliers, and () int32, not zero for charges that are not finite
    """
    count, hardness, bonds = len(positions), parameters.hardness, wiring.bonds
    widths, electronegativity = parameters.width.unsqueeze(0), parameters.electronegativity.unsqueeze(0)
    everyone = torch.ones_like(widths, dtype=torch.bool)
    coulomb = open_pairs(positions.unsqueeze(0), widths, everyone) + torch.diag_embed(self_interaction(widths))
    softness = hardness.new_zeros(count * count).index_add(0, bonds.center * count + bonds.neighbor, bonds.softness)
    preference = torch.where(total_charge > 0, wiring.preference[:, 0], wiring.preference[:, 1])
    start = total_charge * torch.softmax(preference, 0)
    nobody, none = torch.zeros_like(widths), torch.zeros_like(total_charge)
    equations = BondEquations(laplacian_of(softness.view(1, count, count)), start.unsqueeze(0), ~everyone, nobody, none)
    flow = equations.solution(coulomb + torch.diag_embed(hardness.unsqueeze(0)), electronegativity)
    charges, slope = flow.charges[0], flow.slope[0]
    potential = slope - parameters.electronegativity - hardness * charges
    found = Equilibrium(charges, none.unsqueeze(0), flow.energy, potential)
    return found, (~charges.isfinite().all()).int()


def equilibrate_crystal(
    geometry: ChargeGeometry, parameters: ChargeParameters, total_charge: Tensor, background: Background = "point"
) -> tuple[Equilibrium, Tensor]:
    """The same of one crystal, whose geometry has waves and no mesh.

    Pairs far beyond any interaction and waves of zeros may fill up its tables.
    """
    split, volume, width = geometry.split[0], geometry.volume[0], parameters.width
    own = parameters.hardness + self_interaction(width) - split_self_interaction(split)
    uniform = background_interaction(volume, split, 2 * width.square(), background) / 2
    forms: list[Form] = [
        Diagonal(own),
        real_space(geometry, width),
        Uniform(uniform.expand_as(width)),
        waves_of(geometry, geometry.triplets[0]),
    ]
    return _equilibrate(Sum(forms), parameters, total_charge)


def _equilibrate(form: Sum, parameters: ChargeParameters, total_charge: Tensor) -> tuple[Equilibrium, Tensor]:
    count = len(parameters.width)
    rows = torch.ones_like(parameters.width).unsqueeze(0)
    solve, failed = _factored(form, rows[0])
    problem = Problem(form, Constraint(rows, rows[:, :1] / count), solve)
    return equilibrium_of(problem, parameters, total_charge, torch.zeros_like(rows[0])), failed


@torch.no_grad()
def _factored(form: Sum, ones: Tensor) -> tuple[Solve, Tensor]:
    """What solves with K, and whether it fails. P K P + s 1 1ᵀ / N is factored, as by `solvers.factorize`."""
    matrix = ones.new_zeros(len(ones), len(ones))
    form.add_to(matrix)
    mean = matrix.mean(1)
    uniform = (matrix.diagonal().abs().mean() / len(ones)) + mean.mean()
    lower, failed = torch.linalg.cholesky_ex(matrix - mean - mean.unsqueeze(1) + uniform)

    @torch.no_grad()
    def solve(right: Tensor, total: Tensor, start: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        even = total / len(ones)
        residual = right - len(ones) * even * mean
        moved = torch.cholesky_solve((residual - residual.mean()).unsqueeze(1), lower).squeeze(1)
        solution = moved - moved.mean() + even
        product = matrix @ solution
        return solution, (right - product).mean().view(1), product

    return solve, failed
