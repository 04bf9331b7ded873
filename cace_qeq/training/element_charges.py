"""Electronegativity, hardness and width of each element from the labelled charges, before the network learns.

These few parameters decide which atoms exchange charge at all: in NaCl clusters sodium turns rigid
(J above 50 eV/e²) while chlorine stays soft. A quasi-Newton method (torch's L-BFGS) finds that in a second;
gradient steps beside the network's hardly moved these parameters in 15 epochs.
"""

import copy
from collections.abc import Callable, Collection, Sequence

import torch
from torch import Tensor

from cace_qeq.model import CACEQEq
from cace_qeq.structures import PROPERTIES, AtomicBatch
from cace_qeq.training.data import Example, joined
from cace_qeq.training.transfer import fresh_entries

PRIOR = 1e-6  # e², keeps parameters that the charges do not decide near their start
ITERATIONS = 100
ENDS = (0.1, 0.9)  # quantiles of an element's charges between which it starts without walls
ELEMENT_PARAMETERS = (
    "charge_heads.electronegativity.offset",
    "charge_heads.hardness.raw",
    "charge_heads.width.raw",
    "shell_walls.place",
    "shell_walls.stiffness",
    "shell_walls.softness",
    "wiring.softness.strength",
    "wiring.softness.reach",
    "wiring.excess.offset",
)


def fit_element_charges(model: CACEQEq, examples: Sequence[Example], kept: Collection[int] = ()) -> None:
    """Minimise the mean squared charge error, each times the weight of its frame, over the element parameters.

    Nothing happens without labels.

    examples  a few hundred atoms are enough
    kept      atomic numbers of elements whose parameters stay
    """
    sample = joined(examples)
    weight = sample.labels.weights[sample.batch.structure, PROPERTIES.index("charges")]
    known = sample.labels.charges.isfinite() & (weight > 0)
    if model.charge_heads is None or not known.any() or set(model.config.species) <= set(kept):
        return
    fitted = copy.deepcopy(model).double().requires_grad_(False)
    new = known & ~torch.isin(sample.batch.numbers, torch.tensor(list(kept), dtype=torch.int64))
    place_walls(fitted, sample.batch.numbers[new], sample.labels.charges[new])
    parameters = [parameter.requires_grad_(True) for parameter in element_parameters(fitted)]
    fresh = fresh_entries(model, kept)
    masks = [fresh[name] for name, _ in model.named_parameters() if name in ELEMENT_PARAMETERS]
    for parameter, mask in zip(parameters, masks, strict=True):
        parameter.register_hook(mask.to(parameter).mul)  # of the gradient, along sums of which the search moves
    start = [parameter.detach().clone() for parameter in parameters]
    charges = charges_by_elements(fitted, sample.batch)
    optimizer = torch.optim.LBFGS(parameters, max_iter=ITERATIONS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        error = torch.dot(weight[known], (charges() - sample.labels.charges)[known].square()) / weight[known].sum()
        prior = sum(((now - then) ** 2).sum() for now, then in zip(parameters, start, strict=True))
        total = error + PRIOR * prior
        total.backward()
        return total

    optimizer.step(loss)
    with torch.no_grad():
        for parameter, value in zip(element_parameters(model), parameters, strict=True):
            parameter.copy_(value)


@torch.no_grad()
def place_walls(model: CACEQEq, numbers: Tensor, charges: Tensor) -> None:
    """Walls start at the ends of the labelled charges of each element."""
    if model.shell_walls is None:
        return
    species = model.species(numbers)
    for index in species.unique().tolist():
        of_element = charges[species == index]
        model.shell_walls.place[index] = torch.quantile(of_element, of_element.new_tensor(ENDS))


def charges_by_elements(model: CACEQEq, batch: AtomicBatch) -> Callable[[], Tensor]:
    """Charges for the element parameters of the moment; the environments are worked out once."""
    species = model.species(batch.numbers)
    features = model.representation(model.environments(batch), species)
    return lambda: model.charged(batch, features, species).equilibrium.charges


def element_parameters(model: CACEQEq) -> list[Tensor]:
    """The parameters of the charge heads that belong to elements, not to environments."""
    return [parameter for name, parameter in model.named_parameters() if name in ELEMENT_PARAMETERS]
