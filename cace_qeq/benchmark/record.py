"""What every benchmark result says about where it was measured."""

import json
import math
import platform
from pathlib import Path
from typing import Any

import torch

from cace_qeq.files import write_atomically
from cace_qeq.training.provenance import commit, installed_versions


def machine() -> dict[str, Any]:
    """Processor, threads, versions and commit."""
    return {
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "versions": installed_versions(),
        "commit": commit(),
    }


def processor() -> str:
    """The name that Linux gives, elsewhere what Python knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def write_result(path: Path, content: dict[str, Any]) -> None:
    """JSON with the machine behind it; the file appears whole or not at all."""
    text = json.dumps(finite({**content, "machine": machine()}), indent=2, allow_nan=False)
    write_atomically(path, f"{text}\n".encode())


def finite(content: Any) -> Any:
    """null instead of NaN and infinity, which JSON does not know."""
    if isinstance(content, dict):
        return {key: finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
