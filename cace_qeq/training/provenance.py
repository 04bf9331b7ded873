"""Where a model comes from, in plain values that its file keeps."""

import hashlib
import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from cace_qeq.model import CACEQEq
from cace_qeq.training.config import TrainConfig
from cace_qeq.training.data import Example

PACKAGES = (
    "cace_qeq", "torch", "numpy", "ase", "vesin", "opt_einsum", "pytorch_optimizer", "lightning-fabric", "safetensors",
)  # fmt: skip

WRITTEN = (":(top,exclude)benchmarks/results", ":(top,exclude)docs/figures")  # by benchmarks


def provenance_of(config: TrainConfig, sets: Sequence[Sequence[Example]]) -> dict[str, Any]:
    """Settings, files, versions and what the training frames hold.

    sets  training, validation and test examples
    """
    charges = {float(charge) for example in sets[0] for charge in example.batch.total_charge if not charge.isnan()}
    return {
        "settings": config.model_dump(mode="json"),
        "files": [{"role": role, **file_record(path)} for role, path in files_of(config)],
        "frames": dict(zip(("train", "valid", "test"), map(len, sets), strict=True)),
        "versions": {"python": platform.python_version(), **installed_versions()},
        "commit": commit(),
        "dtype": config.training.dtype,
        "seed": config.training.seed,
        "total_charges": sorted(charges),
    }


def files_of(config: TrainConfig) -> list[tuple[str, Path]]:
    """What each file is for: the data files as they are listed, and the model that training starts from."""
    valid = () if isinstance(config.data.valid, float) else config.data.valid
    origin = () if config.training.start_from is None else (config.training.start_from,)
    roles = {"train": config.data.train, "valid": valid, "test": config.data.test, "start_from": origin}
    return [(role, path) for role, paths in roles.items() for path in paths]


def inherited_provenance(own: dict[str, Any], origin: CACEQEq) -> dict[str, Any]:
    """Provenance of a model that began as another: its total charges count as seen."""
    charges = {*own["total_charges"], *origin.provenance.get("total_charges", ())}
    return {**own, "total_charges": sorted(charges), "started_from": origin.provenance}


def file_record(path: Path) -> dict[str, str]:
    return {"path": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def roles_of(provenance: dict[str, Any]) -> list[str]:
    """What each file is for, and its SHA-256."""
    return [f"{file['role']} {file['sha256']}" for file in provenance["files"]]


def installed_versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def commit() -> str | None:
    """The commit of the checkout that this package runs from, `-dirty` if changed; None if installed.

    What benchmarks write, results and figures, is no change.
    """
    here = Path(__file__)
    return commit_of(here.parent, here.name)


def commit_of(folder: Path, name: str) -> str | None:
    """The same for a file in a folder."""
    try:
        git(folder, "ls-files", "--error-unmatch", name)  # not the checkout around an environment
        changed = git(folder, "status", "--porcelain", "--untracked-files=no", "--", ":(top)", *WRITTEN)
        return git(folder, "rev-parse", "HEAD") + ("-dirty" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
