"""What turns gradients into steps."""

from collections.abc import Iterable
from typing import Any

import torch
from pytorch_optimizer import SOAP
from torch.nn import Parameter

from cace_qeq.training.config import TrainingConfig

LARGEST_ROTATED = 600  # length of a matrix's side beyond which its axes are left as they are: QR grows with the cube


def optimizer_of(config: TrainingConfig, parameters: Iterable[Parameter]) -> torch.optim.Optimizer:
    """AdamW, or SOAP: Adam in the eigenvectors of Shampoo's preconditioner, which are found anew every ten steps.

    Vyas et al., ICLR 2025, arXiv 2409.11321
    """
    groups = parameter_groups(parameters, config.weight_decay)
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups)
    return SOAP(groups, max_precondition_dim=LARGEST_ROTATED)


def parameter_groups(parameters: Iterable[Parameter], weight_decay: float) -> list[dict[str, Any]]:
    """Matrices decay; offsets, hardnesses and other vectors do not."""
    parameters = list(parameters)
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
