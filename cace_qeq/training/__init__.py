"""Training: configuration, data, loss, the loop, and errors of models."""

from cace_qeq.training.config import TrainConfig, load_config, parse_config
from cace_qeq.training.data import Frame, batches_for, read_labelled
from cace_qeq.training.fit import Outcome, fit
from cace_qeq.training.folder import Start
from cace_qeq.training.metrics import Evaluation, Metrics, Parity, evaluate
from cace_qeq.training.prepare import Summary
from cace_qeq.training.reporting import Reporter
from cace_qeq.training.spread import evaluate_committee

__all__ = [
    "Evaluation",
    "Frame",
    "Metrics",
    "Outcome",
    "Parity",
    "Reporter",
    "Start",
    "Summary",
    "TrainConfig",
    "batches_for",
    "evaluate",
    "evaluate_committee",
    "fit",
    "load_config",
    "parse_config",
    "read_labelled",
]
