"""A model in one .safetensors file: its tensors, its config and how it came to be. Nothing is unpickled."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from cace_qeq.config import ModelConfig
from cace_qeq.files import write_atomically
from cace_qeq.model import CACEQEq

FORMAT = "cace_qeq model"
VERSION = "3"  # 2: channels come last in the matrices that mix densities; 3: these are apart
UNITS = "eV, angstrom, e"
DIGEST = "sha256"  # of all else in a file


class CheckpointError(ValueError):
    """The file is not a model that this version can load."""


def save_model(model: CACEQEq, path: str | Path) -> None:
    """Write the model; the file appears whole or not at all.

    Raises TypeError for anything else, such as a committee, which `save_committee` writes.
    """
    if not isinstance(model, CACEQEq):
        raise TypeError(f"save_model was given a {type(model).__name__}, expected a CACEQEq; see save_committee.")
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "units": UNITS,
        "config": model.config.model_dump_json(),
        "provenance": json.dumps(model.provenance),
    }
    write(Path(path), metadata, model.state_dict())


def load_model(path: str | Path, device: torch.device | str = "cpu", dtype: torch.dtype | None = None) -> CACEQEq:
    """The model of a file, ready to predict.

    dtype   of the network: torch.float32, torch.float64, or as saved

    Raises FileNotFoundError, CheckpointError for a damaged file or one of another kind or version, and ValueError for a
    device that is not there and another dtype.
    """
    refuse_precision(dtype)
    metadata, tensors = read(Path(path))
    if metadata.get("format") != FORMAT:
        raise CheckpointError(f"{path} holds {kind_of(metadata)}, not a {FORMAT}; pass the model.safetensors of a run.")
    with holding_together(path, metadata):
        model = built(metadata["config"], tensors, dtype)
        (model.provenance,) = provenances([json.loads(metadata["provenance"])])
    return model.to(device_of(device)).eval()


def kind_of(metadata: dict[str, str]) -> str:
    """What a safetensors file says that it holds."""
    return f"a {metadata['format']}" if metadata.get("format", "").startswith("cace_qeq") else "other tensors"


def fingerprint(potential: nn.Module) -> str:
    """Twelve hexadecimal digits that tell models and committees apart, whatever their precision and device."""
    digest = hashlib.sha256(cast(ModelConfig, potential.config).model_dump_json().encode())
    for tensor in potential.state_dict().values():
        digest.update(tensor.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()[:12]


def mark(potential: nn.Module) -> str:
    """The fingerprint behind a letter, so that no file takes it for a number."""
    return f"f{fingerprint(potential)}"


def device_of(name: torch.device | str) -> torch.device:
    """A device that can be used.

    Raises ValueError for one that is not there or has no double precision.
    """
    try:
        device = torch.device(name)
        torch.zeros(1, dtype=torch.float64, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"device {str(name)!r} cannot be used ({reason}); choose cpu, or cuda where there is a GPU."
        ) from None
    return device


@contextmanager
def holding_together(path: str | Path, metadata: dict[str, str]) -> Iterator[None]:
    """Building from the parts of a file.

    Raises CheckpointError for another version, other units, and parts that do not fit.
    """
    if metadata.get("version") != VERSION:
        raise CheckpointError(
            f"{path} has format version {metadata.get('version')}, this cace_qeq reads version {VERSION}; "
            "load it with the version that wrote it, or train again."
        )
    try:
        if metadata["units"] != UNITS:
            raise ValueError(f"its units are {metadata['units']!r}, expected {UNITS!r}")
        yield
    except (ValueError, TypeError, KeyError, RuntimeError) as error:
        raise CheckpointError(f"{path} does not hold together: {error}") from error


def provenances(parts: Any) -> list[dict[str, Any]]:
    """Of the models of a file.  Raises ValueError for anything but dictionaries."""
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        raise ValueError("its provenance does not say how each model came to be")
    return parts


def refuse_precision(dtype: torch.dtype | None) -> None:
    """raises  ValueError for anything but single and double precision; None stands for that of the model"""
    if dtype not in (None, torch.float32, torch.float64):
        raise ValueError(f"dtype is {dtype!r}, expected torch.float32 or torch.float64.")


def built(config: str, tensors: dict[str, Tensor], dtype: torch.dtype | None) -> CACEQEq:
    """A model from its configuration in JSON and its tensors, on the CPU."""
    with torch.random.fork_rng(devices=[]):  # random parameters, which are about to be replaced
        model = CACEQEq(ModelConfig.model_validate_json(config))
    model.to(dtype or tensors["energy_head.linear.weight"].dtype)
    model.load_state_dict(tensors)
    return model


def write(path: Path, metadata: dict[str, str], tensors: dict[str, Tensor]) -> None:
    """A safetensors file of metadata and tensors, with a digest of both; it appears whole or not at all."""
    detached = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_atomically(path, save(detached, metadata | {DIGEST: digest_of(metadata, detached)}))


def digest_of(metadata: Mapping[str, str], tensors: Mapping[str, Tensor]) -> str:
    """Hexadecimal digits that another bit anywhere would change."""
    digest = hashlib.sha256(json.dumps(sorted(metadata.items())).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors of a safetensors file.

    Raises FileNotFoundError, and CheckpointError for one that is not what was written.
    """
    if not path.is_file():
        inside = path / "model.safetensors"
        hint = f", a folder; is {inside} meant?" if inside.is_file() else ""
        raise FileNotFoundError(f"there is no model file {path}{hint}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise CheckpointError(f"{path} is damaged or not a safetensors file ({error}); restore a copy.") from error
    if metadata.pop(DIGEST, None) not in (None, digest_of(metadata, tensors)):
        raise CheckpointError(
            f"{path} is damaged: it does not hold what was written; restore a copy (or, if it was changed on purpose, "
            f"leave {DIGEST} out of its metadata)."
        )
    return metadata, tensors


def section(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors under `name/`, without it."""
    prefix = f"{name}/"
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
