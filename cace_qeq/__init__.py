"""Cartesian atomic cluster expansion potentials with charge equilibration."""

from importlib.metadata import PackageNotFoundError, version

from cace_qeq.calculator import CACEQEqCalculator
from cace_qeq.checkpoint import load_model, save_model
from cace_qeq.committee import Committee, load_potential, predict_committee, save_committee
from cace_qeq.config import ModelConfig
from cace_qeq.model import CACEQEq
from cace_qeq.prediction import differentiable_predict, predict
from cace_qeq.response import predict_response
from cace_qeq.structures import AtomicBatch, collate, to_batch

__all__ = [
    "AtomicBatch",
    "CACEQEq",
    "CACEQEqCalculator",
    "Committee",
    "ModelConfig",
    "collate",
    "differentiable_predict",
    "load_model",
    "load_potential",
    "predict",
    "predict_committee",
    "predict_response",
    "save_committee",
    "save_model",
    "to_batch",
]

try:
    __version__ = version("cace_qeq")
except PackageNotFoundError:  # imported from a checkout that is not installed
    __version__ = "0+unknown"
