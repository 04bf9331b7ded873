"""What turns gradients into steps."""

from collections.abc import Iterable
from typing import Any

import torch
from torch.nn import Parameter

from cace_qeq.training.config import TrainingConfig

OF_ELEMENTS = {"receiver", "place", "stiffness", "offset"}  # gates about one, walls of shells, where ions are charged
LARGEST_ROTATED = 600
"""Longest side of a matrix whose axes are learned: the work grows with the cube. They matter on the long sides, which
are radial functions times channels: 150 frames of acetylacetone, preset S, 14.9 meV/Å, 18.2 without those of 256,
16.8 with axes for radial functions and for channels apart.
"""


def optimizer_of(config: TrainingConfig, parameters: Iterable[tuple[str, Parameter]]) -> torch.optim.Optimizer:
    """AdamW, or SOAP: Adam in the eigenvectors of Shampoo's preconditioner, which are found anew every ten steps.

    parameters  with their names
    Vyas et al., ICLR 2025, arXiv 2409.11321
    """
    groups = parameter_groups(parameters, config.weight_decay)
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups)
    from pytorch_optimizer import SOAP  # here, as it takes a second

    return SOAP(groups, max_precondition_dim=LARGEST_ROTATED)


def parameter_groups(parameters: Iterable[tuple[str, Parameter]], weight_decay: float) -> list[dict[str, Any]]:
    """Matrices decay; vectors do not, nor what belongs to elements and has a natural size other than zero."""
    groups: dict[bool, list[Parameter]] = {True: [], False: []}
    for name, parameter in parameters:
        groups[parameter.ndim > 1 and name.rpartition(".")[2] not in OF_ELEMENTS].append(parameter)
    return [{"params": groups[True], "weight_decay": weight_decay}, {"params": groups[False], "weight_decay": 0.0}]
