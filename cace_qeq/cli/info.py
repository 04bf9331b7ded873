"""`cace-qeq info`."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cace_qeq.cli.structure import ModelArgument
from cace_qeq.committee import Committee, load_potential
from cace_qeq.config import ModelConfig
from cace_qeq.model import CACEQEq
from cace_qeq.structures import Atoms


def info(model: ModelArgument) -> None:
    """What a model file holds: elements, settings, total charges that it has seen, and where it comes from."""
    potential = load_potential(model)
    members = potential.members if isinstance(potential, Committee) else (potential,)
    table = Table("", "", title=Text(str(model)), show_header=False)
    told = {**described(members), **origin(members[0].provenance)}
    if len(members) > 1:
        told["seed"] = ", ".join(str(member.provenance.get("seed", "unknown")) for member in members)
    for name, value in told.items():
        table.add_row(name, Text(value))
    Console().print(table)


def described(members: tuple[CACEQEq, ...]) -> dict[str, str]:
    """The model itself; settings that are not the default alone."""
    first = members[0]
    usual = ModelConfig.model_validate({"species": first.config.species, "cutoff": first.config.cutoff})
    settings = [
        f"{name}: {value}"
        for name, value in first.config.model_dump(exclude={"species", "cutoff", "energy"}).items()
        if value != getattr(usual, name)
    ]
    found = {"members": str(len(members))} if len(members) > 1 else {}
    return found | {
        "elements": ", ".join(Atoms(first.config.species).get_chemical_symbols()),
        "cutoff": f"{first.config.cutoff:g} Å in each of {first.config.layers} rounds",
        "energy": first.config.energy,
        "settings": ", ".join(settings) or "default",
        "parameters": str(sum(parameter.numel() for parameter in first.parameters())),
        "precision": str(first.dtype).removeprefix("torch."),
    }


def origin(provenance: Mapping[str, Any]) -> dict[str, str]:
    """What training has written, as far as it has: a model that was made otherwise has less."""
    words = {
        "total charges seen": [f"{charge:+g} e" for charge in provenance.get("total_charges", ())],
        "frames": [f"{count} {part}" for part, count in provenance.get("frames", {}).items()],
        "files": [record["path"] for record in provenance.get("files", ())],
        "seed": [str(provenance["seed"])] if "seed" in provenance else [],
        "versions": [f"{name} {version}" for name, version in provenance.get("versions", {}).items()],
        "commit": [provenance["commit"]] if provenance.get("commit") else [],
    }
    return {name: ", ".join(found) for name, found in words.items() if found}
