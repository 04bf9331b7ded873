"""Numbers from outside as tensors, refused with an explanation where no charges follow from them."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cace_qeq.conditions import as_float64

Numbers = Tensor | NDArray[np.floating] | Sequence[float] | Sequence[Sequence[float]] | float


def checked(value: object, name: str, shape: tuple[int | None, ...]) -> Tensor:
    """The value as float64 tensor of the expected shape, None for any length."""
    tensor = converted(value, name)
    matches = tensor.dim() == len(shape) and all(
        length in (None, found) for length, found in zip(shape, tensor.shape, strict=True)
    )
    if not matches or 0 in tensor.shape:
        expected = str(shape).replace("None", "atom")
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}, expected {expected}, one atom or more")
    if not torch.isfinite(tensor).all():
        first = torch.isfinite(tensor).logical_not().nonzero()[0].tolist()
        raise ValueError(f"{name}{first if first else ''} is {tensor[tuple(first)]:g}, expected finite numbers")
    return tensor


def converted(value: object, name: str) -> Tensor:
    """The value as float64 tensor of whatever shape."""
    try:
        return as_float64(value)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"{name} is {' '.join(repr(value).split())[:80]}, expected finite numbers") from None


def checked_total_charge(value: object) -> Tensor:
    """() e; NaN may pass, for electrodes"""
    tensor = converted(value, "total_charge")
    return tensor if tensor.dim() == 0 and bool(tensor.isnan()) else checked(tensor, "total_charge", ())


def require_positive(values: Tensor, name: str) -> None:
    wrong = (values <= 0).nonzero().flatten().tolist()
    if wrong:
        raise ValueError(
            f"{name}[{wrong[0]}] is {values[wrong[0]]:g}, expected a positive number for every atom, since "
            "otherwise the charges need not have a minimum"
        )


def checked_periodicity(pbc: object) -> NDArray[np.bool_]:
    """(3,)  none, two or all of the directions"""
    flags = np.atleast_1d(np.asarray(pbc)).tolist()
    if len(flags) not in (1, 3) or any(flag not in (0, 1) for flag in flags):
        raise ValueError(f"pbc is {pbc!r}, expected True, False or three of either")
    periodic = np.broadcast_to(np.array(flags, dtype=bool), 3)
    if periodic.sum() == 1:
        raise ValueError(
            f"pbc is {flags}, expected none, two or three periodic directions, since charges in wires are not "
            "supported; make the wire periodic in all three with enough vacuum, or open in all three"
        )
    return periodic


def checked_cell(cell: object, pbc: NDArray[np.bool_]) -> Tensor:
    """(3, 3)  independent lattice vectors in the periodic directions, zeros in the open ones"""
    if not pbc.any():
        return torch.zeros(3, 3, dtype=torch.float64)
    if cell is None:
        raise ValueError("cell is None, expected a (3, 3) array of lattice vectors because pbc is True")
    lattice = checked(cell, "cell", (3, 3))
    vectors = lattice.detach()[torch.from_numpy(pbc.copy())]
    spanned = torch.linalg.det(vectors @ vectors.T).clamp(min=0).sqrt()
    if not spanned > 1e-8 * vectors.norm(dim=1).prod():
        raise ValueError(
            f"cell {lattice.tolist()} has no volume along its periodic directions, expected independent lattice "
            f"vectors because pbc is {pbc.tolist()}; set pbc=False for a molecule"
        )
    return lattice * torch.from_numpy(pbc.astype(float)).unsqueeze(1).to(lattice.device)
