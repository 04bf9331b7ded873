"""The Coulomb energy of charges that are given, for other people's pipelines."""

import torch
from torch import Tensor

from cace_qeq.conditions import nothing_imposed
from cace_qeq.electrostatics.checks import Numbers, checked, checked_cell, checked_periodicity
from cace_qeq.electrostatics.coulomb_forms import with_own
from cace_qeq.electrostatics.forms import Sum
from cace_qeq.electrostatics.geometry import ChargeGeometry
from cace_qeq.electrostatics.kernels import Background, refuse_unknown, self_interaction
from cace_qeq.electrostatics.single import PRECISE, Periodicity, prepared, settings_of
from cace_qeq.electrostatics.solver import Solver
from cace_qeq.records import moved

NARROWEST = 1e-9  # Å, of what stands for a point charge, and is lost to rounding beside other widths


def coulomb_energy(
    positions: Numbers,
    cell: Numbers | None,
    pbc: Periodicity,
    charges: Numbers,
    width: Numbers,
    background: Background = "point",
    solver: Solver = PRECISE,
) -> Tensor:
    """q.A q / 2 of Gaussian or point charges, with all their periodic images.

    positions   (atom, 3)  Å, arrays or tensors
    cell, pbc              as `solve_charges` takes them
    charges     (atom,)    e
    width       (atom,)    Å, σ; zero for a point charge, which does not interact with itself
    background             "point" or "gaussian", of a charged crystal; a slab needs none
    solver                 its method and mesh accuracy: by default large crystals and slabs are summed on a mesh
    returns     ()         eV, float64, differentiable to any order: its derivatives by the charges are the potentials

    Raises ValueError for shapes that do not fit, numbers that are not finite, negative widths, and for structures
    and solvers as `solve_charges` does.

    Darden, York & Pedersen, doi 10.1063/1.464397; Essmann et al., doi 10.1063/1.470117.   (theory, eqs. 7, 11 to 13)
    """
    refuse_unknown(background)
    if not isinstance(solver, Solver):
        raise ValueError(f"solver is {solver!r}, expected a Solver, such as Solver('mesh')")
    coordinates = checked(positions, "positions", (None, 3))
    given, widths = (
        checked(value, name, (len(coordinates),)).to(coordinates.device)
        for name, value in {"charges": charges, "width": width}.items()
    )
    if (widths < 0).any():
        raise ValueError(f"width is {float(widths.detach().min()):g} at least, expected none below zero")
    directions = checked_periodicity(pbc)
    lattice = checked_cell(cell, directions).to(coordinates.device)
    settings = settings_of(solver, max(float(widths.detach().max()), NARROWEST))
    nothing = moved(nothing_imposed(len(coordinates)), coordinates.device)
    geometry, _ = prepared(coordinates, lattice, directions, nothing, settings, widths)
    return coulomb_form(geometry, widths, background).energy(given)


def coulomb_form(geometry: ChargeGeometry, width: Tensor, background: Background) -> Sum:
    """A of one structure, without the interaction of a point charge with itself."""
    spread = width.clamp(min=NARROWEST)
    own = torch.where(width > 0, self_interaction(spread), 0.0)
    return with_own(geometry, spread, own, background)
