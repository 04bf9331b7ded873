"""A model that begins as another one, with rows for new elements."""

from collections.abc import Collection, Sequence
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from cace_qeq.config import ModelConfig, number_of, preset_settings
from cace_qeq.model import CACEQEq
from cace_qeq.nn.elements import COVALENT_RADII
from cace_qeq.parts import widths
from cace_qeq.strict import readable


def grown_config(origin: ModelConfig, settings: dict[str, Any], species: Sequence[int]) -> ModelConfig:
    """The configuration of a checkpoint with more elements.

    settings  the model section: it may be empty, repeat settings of the checkpoint, and name species in any order
    species   atomic numbers that the training frames have

    raises    ValueError for settings that contradict the checkpoint, and for species that lack an element
    """
    elements = settings.get("species", [*origin.species, *(z for z in species if z not in origin.species)])
    if isinstance(elements, list | tuple):
        elements = [number_of(element) for element in elements]
    if not isinstance(elements, list | tuple) or not all(isinstance(element, int) for element in elements):
        raise ValueError(f"model.species: expected a list of symbols or atomic numbers (got {elements!r})")
    if missing := (set(origin.species) | set(species)) - set(elements):
        raise ValueError(f"model.species {list(elements)} lacks {sorted(missing)}, of the checkpoint or the frames.")
    known = [z for z in elements if z in range(len(COVALENT_RADII))]  # the configuration refuses others
    own = dict(zip(origin.species, origin.widths, strict=True)) if origin.widths else {}
    start = {**origin.model_dump(), "widths": [own.get(z, COVALENT_RADII[z]) for z in known] if own else None}
    stated = {name: value for name, value in settings.items() if name != "preset"}
    preset = preset_settings(settings["preset"]) if "preset" in settings else {}
    try:
        config = ModelConfig(**{**start, **preset, **stated, "species": elements})
    except ValidationError as error:
        raise ValueError(readable(error, "model")) from None
    refuse_contradictions(origin, config)
    return config


def refuse_contradictions(origin: ModelConfig, config: ModelConfig) -> None:
    before, now = described(origin, origin.species), described(config, origin.species)
    wrong = [f"{name} is {now[name]!r}, there {before[name]!r}" for name in before if now[name] != before[name]]
    if wrong:
        raise ValueError(
            f"model: the architecture is that of training.start_from, but {'; '.join(wrong)}; "
            "leave these settings out, or train without start_from."
        )


def described(config: ModelConfig, elements: Sequence[int]) -> dict[str, Any]:
    """The settings, with the widths of some elements that they come to."""
    of_element = dict(zip(config.species, widths(config), strict=True))
    return {**config.model_dump(exclude={"species"}), "widths": [of_element[z] for z in elements]}


@torch.no_grad()
def inherit(model: CACEQEq, origin: CACEQEq) -> None:
    """Take what another model has learned and calibrated; what belongs to other elements stays as it is."""
    target, entries = model.state_dict(), element_entries(model, origin.config.species)  # shares the model's memory
    for name, tensor in origin.state_dict().items():
        target[name][entries.get(name, ...)] = tensor.to(target[name])


def fresh_entries(model: CACEQEq, known: Collection[int]) -> dict[str, Tensor]:
    """True where a parameter belongs to an element that is not known, or to a pair with one; for such parameters."""
    elements = [number for number in model.config.species if number in known]
    fresh = {}
    for name, entries in element_entries(model, elements).items():
        fresh[name] = torch.ones_like(model.state_dict()[name], dtype=torch.bool)
        fresh[name][entries] = False
    return fresh


def element_entries(model: CACEQEq, elements: Sequence[int]) -> dict[str, tuple[Tensor, ...]]:
    """Indices of what belongs to these elements, in their order, in each tensor of which a part belongs to elements.

    Its axes of elements are those that a second element makes longer.
    """
    one, two = (shapes(model.config, species) for species in ((1,), (1, 2)))
    places = torch.tensor([model.config.species.index(number) for number in elements], dtype=torch.int64)
    found = {}
    for name, tensor in model.state_dict().items():
        if one[name] != two[name]:
            axes = zip(tensor.shape, one[name], two[name], strict=True)
            indices = [torch.arange(size) if single == double else places for size, single, double in axes]
            found[name] = torch.meshgrid(*indices, indexing="ij")
    return found


def shapes(config: ModelConfig, species: tuple[int, ...]) -> dict[str, torch.Size]:
    """Of every tensor of a model for these elements."""
    of_elements = config.model_copy(update={"species": species, "widths": None})
    with torch.random.fork_rng(devices=[]):
        return {name: tensor.shape for name, tensor in CACEQEq(of_elements).state_dict().items()}
