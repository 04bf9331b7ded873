"""Models of one architecture that answer together: their mean, and how far they are apart."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NoReturn, cast

import torch
from torch import Tensor, nn

from cace_qeq.checkpoint import (
    UNITS,
    VERSION,
    built,
    device_of,
    holding_together,
    load_model,
    provenances,
    read,
    refuse_precision,
    section,
    write,
)
from cace_qeq.config import ModelConfig
from cace_qeq.electrostatics import Solver
from cace_qeq.model import CACEQEq
from cace_qeq.prediction import Prediction, predict
from cace_qeq.structures.batch import AtomicBatch, GeometrySettings

FORMAT = "cace_qeq committee"


class Committee(nn.Module):
    """Two models or more, e.g. of several seeds, for the same batches.

    One batch serves all members: neighbours and Ewald integers are found once. Pair functions are not shared; they are
    2 to 7 % of a prediction (presets XS and S, 15 and 192 atoms).

    Raises ValueError for fewer than two members, and for members of different configurations.
    """

    generated = None  # members have their own

    def __init__(self, members: Sequence[CACEQEq]):
        super().__init__()
        if len(members) < 2:
            raise ValueError(f"a committee has two members or more, not {len(members)}.")
        if len({id(member) for member in members}) < len(members):
            raise ValueError("a committee has different members, but one of these stands twice; give a copy.")
        for position, member in enumerate(members[1:], start=2):
            refuse_other_architecture(members[0].config, member.config, position)
        self.models = nn.ModuleList(members)

    def forward(self, batch: AtomicBatch) -> NoReturn:
        """There is no graph of a mean."""
        raise ValueError("a committee answers by predict_committee, and its members one by one (`.members`) by predict")

    @property
    def members(self) -> tuple[CACEQEq, ...]:
        return tuple(cast(CACEQEq, member) for member in self.models)

    @property
    def config(self) -> ModelConfig:
        return self.members[0].config

    @property
    def provenance(self) -> dict[str, Any]:
        """Of the members, and all total charges that any of them has seen."""
        each = [member.provenance for member in self.members]
        seen = {charge for provenance in each for charge in provenance.get("total_charges", ())}
        return {"total_charges": sorted(seen), "members": each}

    @property
    def geometry(self) -> GeometrySettings:
        return self.members[0].geometry

    @property
    def frozen_geometry(self) -> GeometrySettings:
        """Wide enough for the widest charges of any member."""
        return max((member.frozen_geometry for member in self.members), key=lambda one: one.largest_width)

    @property
    def solver(self) -> Solver:
        return self.members[0].solver

    @solver.setter
    def solver(self, solver: Solver) -> None:
        for member in self.members:
            member.solver = solver

    @property
    def device(self) -> torch.device:
        return self.members[0].reference_energies.device


@dataclass(frozen=True)
class Consensus:
    """What a committee predicts.

    mean    of every value over the members; forces and stress are derivatives of the energy, as those of a model are
    spread  standard deviation of every value over the members, with n - 1 in its denominator
    """

    mean: Prediction
    spread: Prediction


def predict_committee(committee: Committee, batch: AtomicBatch) -> Consensus:
    """All properties of a batch, detached from the graph."""
    return consensus_of([predict(member, batch) for member in committee.members])


def consensus_of(opinions: Sequence[Prediction]) -> Consensus:
    """Of the predictions of two members or more for the same batch."""
    values = {f.name: torch.stack([getattr(one, f.name) for one in opinions]) for f in fields(Prediction)}
    return Consensus(
        Prediction(**{name: value.mean(dim=0) for name, value in values.items()}),
        Prediction(**{name: deviation(value) for name, value in values.items()}),
    )


def deviation(values: Tensor) -> Tensor:
    """(member, ...) -> (...)"""
    return ((values - values.mean(dim=0)).square().sum(dim=0) / (len(values) - 1)).sqrt()


def save_committee(committee: Committee, path: str | Path) -> None:
    """Write all members into one file; it appears whole or not at all."""
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "units": UNITS,
        "config": committee.config.model_dump_json(),
        "provenance": json.dumps([member.provenance for member in committee.members]),
    }
    states = enumerate(member.state_dict() for member in committee.members)
    write(Path(path), metadata, {f"{n}/{name}": value for n, state in states for name, value in state.items()})


def load_potential(
    path: str | Path, device: torch.device | str = "cpu", dtype: torch.dtype | None = None
) -> CACEQEq | Committee:
    """The model or the committee of a file, ready to predict.

    dtype   of the networks: torch.float32, torch.float64, or as saved

    Raises FileNotFoundError, CheckpointError for a damaged file or one of another kind or version, and ValueError for a
    device that is not there and another dtype.
    """
    refuse_precision(dtype)
    metadata, tensors = read(Path(path))
    if metadata.get("format") != FORMAT:
        return load_model(path, device, dtype)
    with holding_together(path, metadata):
        members = []
        for n, provenance in enumerate(provenances(json.loads(metadata["provenance"]))):
            members.append(built(metadata["config"], section(tensors, str(n)), dtype))
            members[n].provenance = provenance
        if len({name.partition("/")[0] for name in tensors}) != len(members):
            raise ValueError(f"its provenance is of {len(members)} models, its tensors are not")
        committee = Committee(members)
    return committee.to(device_of(device)).eval()


def refuse_other_architecture(first: ModelConfig, other: ModelConfig, position: int) -> None:
    here, there = first.model_dump(), other.model_dump()
    differences = [f"{name} ({here[name]} and {there[name]})" for name in here if here[name] != there[name]]
    if differences:
        raise ValueError(
            f"members 1 and {position} of the committee differ in {', '.join(differences)}; "
            "join models of one configuration."
        )
