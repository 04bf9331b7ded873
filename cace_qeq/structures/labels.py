"""Reference values of a batch; a missing one is NaN."""

from dataclasses import dataclass

import torch
from torch import Tensor

from cace_qeq.records import moved

PROPERTIES = ("energy", "forces", "stress", "charges", "dipole", "born_charges")


@dataclass(frozen=True)
class Labels:
    """Reference values in float64, NaN where a frame has none.

    energy        (structure,)       eV
    forces        (atom, 3)          eV/Å
    stress        (structure, 3, 3)  eV/Å³, +dE/dstrain/V
    charges       (atom,)            e
    dipole        (structure, 3)     e Å, about the centre of mass
    born_charges  (atom, 3, 3)       e, Z*[a, x, y] = dμ_y/dr_ax
    weights       (structure, 6)     of each of PROPERTIES beside those of other structures, in training
    """

    energy: Tensor
    forces: Tensor
    stress: Tensor
    charges: Tensor
    dipole: Tensor
    born_charges: Tensor
    weights: Tensor

    def to(self, device: torch.device | str) -> "Labels":
        return moved(self, device)
