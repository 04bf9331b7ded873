"""Charges of one structure, for other people's pipelines."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cace_qeq.electrostatics.geometry import ChargeGeometry
from cace_qeq.electrostatics.images import image_pairs
from cace_qeq.electrostatics.kernels import Background
from cace_qeq.electrostatics.qeq import ChargeParameters, equilibrate
from cace_qeq.lattice import EwaldPlan, plan_ewald

Numbers = Tensor | NDArray[np.floating] | Sequence[float] | Sequence[Sequence[float]] | float

ACCURACY = 1e-12
OPEN = EwaldPlan(split=1.0, cutoff=0.0, triplets=np.zeros((0, 3), dtype=np.int64))
CLOSEST = 1e-3  # Å; nearer atoms are a mistake in the input


@dataclass(frozen=True)
class ChargeSolution:
    """Equilibrium of one structure; tensors in float64 that carry gradients of tensor inputs.

    charges     (atom,)  e
    multiplier  ()       eV/e, λ = -dE/dQ
    energy      ()       eV, χ.q + q.K q / 2
    """

    charges: Tensor
    multiplier: Tensor
    energy: Tensor


def solve_charges(
    positions: Numbers,
    cell: Numbers | None,
    pbc: bool | Sequence[bool] | NDArray[np.bool_],
    electronegativity: Numbers,
    hardness: Numbers,
    width: Numbers,
    total_charge: Numbers,
    background: Background = "point",
) -> ChargeSolution:
    """Charges q that minimise χ.q + q.A q / 2 + J.q² / 2 with Σ q = Q, for Gaussian charges.

    positions          (atom, 3)  Å, arrays or tensors
    cell               (3, 3)     Å, rows are lattice vectors, any handedness; ignored without pbc
    pbc                True, False, or three of either
    electronegativity  (atom,)    eV/e, χ
    hardness           (atom,)    eV/e², J > 0
    width              (atom,)    Å, σ > 0
    total_charge       ()         e, Q
    background         "point" or "gaussian", of a charged periodic cell

    Raises ValueError for shapes that do not fit, numbers that are not finite, hardnesses or widths that
    are not positive, cells without volume, two atoms at one place, mixed periodicity.
    """
    coordinates = _checked(positions, "positions", (None, 3))
    n_atoms = len(coordinates)
    per_atom = {"electronegativity": electronegativity, "hardness": hardness, "width": width}
    values = {
        name: _checked(value, name, (n_atoms,)).to(coordinates.device) for name, value in per_atom.items()
    }
    for name in ("hardness", "width"):
        _require_positive(values[name], name)
    charge = _checked(total_charge, "total_charge", ()).to(coordinates.device)
    if _is_periodic(pbc):
        lattice = _checked_cell(cell).to(coordinates.device)
        geometry = _periodic_geometry(coordinates, lattice, float(values["width"].detach().max()))
    else:
        geometry = _open_geometry(coordinates)
    result = equilibrate(geometry, ChargeParameters(**values), charge.view(1), background)
    return ChargeSolution(result.charges, result.multiplier.squeeze(0), result.energy.squeeze(0))


def _checked(value: object, name: str, shape: tuple[int | None, ...]) -> Tensor:
    """The value as float64 tensor of the expected shape, None for any length."""
    tensor = torch.as_tensor(value, dtype=torch.float64)
    matches = tensor.dim() == len(shape) and all(
        length in (None, found) for length, found in zip(shape, tensor.shape, strict=True)
    )
    if not matches or 0 in tensor.shape:
        expected = str(shape).replace("None", "atom")
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}, expected {expected}, one atom or more")
    if not torch.isfinite(tensor).all():
        first = torch.isfinite(tensor).logical_not().nonzero()[0].tolist()
        raise ValueError(
            f"{name}{first if first else ''} is {tensor[tuple(first)]:g}, expected finite numbers"
        )
    return tensor


def _require_positive(values: Tensor, name: str) -> None:
    wrong = (values <= 0).nonzero().flatten().tolist()
    if wrong:
        raise ValueError(
            f"{name}[{wrong[0]}] is {values[wrong[0]]:g}, expected a positive number for every atom, since "
            "otherwise the charges need not have a minimum"
        )


def _is_periodic(pbc: object) -> bool:
    flags = np.atleast_1d(np.asarray(pbc)).tolist()
    if len(flags) not in (1, 3) or any(flag not in (0, 1) for flag in flags):
        raise ValueError(f"pbc is {pbc!r}, expected True, False or three of either")
    if any(flags) != all(flags):
        raise ValueError(
            f"pbc is {flags}, expected periodicity in all three directions or in none; make a slab or wire "
            "periodic in all three with enough vacuum, or open in all three"
        )
    return bool(flags[0])


def _checked_cell(cell: object) -> Tensor:
    if cell is None:
        raise ValueError("cell is None, expected a (3, 3) array of lattice vectors because pbc is True")
    lattice = _checked(cell, "cell", (3, 3))
    lengths = lattice.detach().norm(dim=1).prod()
    if not torch.linalg.det(lattice.detach()).abs() > 1e-8 * lengths:
        raise ValueError(
            f"cell {lattice.tolist()} has no volume, expected three independent lattice vectors because pbc "
            "is True; set pbc=False for a molecule"
        )
    return lattice


def _open_geometry(positions: Tensor) -> ChargeGeometry:
    first, second = torch.triu_indices(len(positions), len(positions), 1, device=positions.device)
    _require_places(torch.pdist(positions.detach()), first, second)
    none = torch.zeros(0, 4, dtype=torch.int64, device=positions.device)
    pairs = (none[:, 0], none[:, 0], none[:, :3])
    return _one_structure(positions, positions.new_zeros(3, 3), pairs, OPEN)


def _periodic_geometry(positions: Tensor, cell: Tensor, largest_width: float) -> ChargeGeometry:
    places, lattice = positions.detach(), cell.detach()
    plan = plan_ewald(lattice.cpu().numpy(), len(places), largest_width, ACCURACY)
    center, neighbor, shift = image_pairs(places, lattice, plan.cutoff)
    displacement = places[neighbor] - places[center] + shift.to(lattice.dtype) @ lattice
    _require_places(displacement.norm(dim=1), center, neighbor)
    return _one_structure(positions, cell, (center, neighbor, shift), plan)


def _one_structure(
    positions: Tensor, cell: Tensor, pairs: tuple[Tensor, Tensor, Tensor], plan: EwaldPlan
) -> ChargeGeometry:
    """Periodic if the plan has a cutoff."""
    center, neighbor, shift = pairs
    return ChargeGeometry(
        positions=positions,
        cells=cell.unsqueeze(0),
        periodic=torch.tensor([plan.cutoff > 0], device=positions.device),
        structure=torch.zeros(len(positions), dtype=torch.int64, device=positions.device),
        center=center,
        neighbor=neighbor,
        shift=shift,
        triplets=torch.from_numpy(plan.triplets).to(positions.device).unsqueeze(0),
        split=positions.new_tensor([plan.split]),
    )


def _require_places(distances: Tensor, first: Tensor, second: Tensor) -> None:
    if len(distances) and distances.min() < CLOSEST:
        nearest = distances.argmin()
        raise ValueError(
            f"atoms {int(first[nearest])} and {int(second[nearest])} are less than {CLOSEST} Å apart, "
            "expected every atom (and every periodic image) at a place of its own; remove duplicates, and "
            "check the cell and the units"
        )
