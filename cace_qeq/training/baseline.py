"""What is known before training: energies of the elements and the size of forces."""

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from cace_qeq.model import CACEQEq
from cace_qeq.structures import PROPERTIES, Atoms
from cace_qeq.training.data import Example, filled_batches, joined

ATOMS_AT_ONCE = 1000


def composition(examples: Sequence[Example], species: Sequence[int]) -> Tensor:
    """(structure, species)  number of atoms of each element."""
    columns = torch.tensor(species)
    return torch.stack([(example.batch.numbers[:, None] == columns).sum(0) for example in examples]).double()


def fitted_energies(energies: Tensor, counts: Tensor, weights: Tensor) -> Tensor:
    """(species,)  eV  least squares of energies on the composition; missing energies are NaN.

    weights  (structure,)  of the squares

    The solution of smallest norm where compositions are collinear, e.g. all the same molecule.
    """
    known = energies.isfinite()
    if not known.any():
        return torch.zeros(counts.shape[1], dtype=torch.float64)
    root = weights[known].sqrt().unsqueeze(1)
    return torch.linalg.lstsq(root * counts[known], root * energies[known, None], driver="gelsd").solution[:, 0]


def refit_reference_energies(model: CACEQEq, examples: Sequence[Example], kept: Collection[int] = ()) -> None:
    """Move the reference energies so that the model, as it is now, explains the mean of the labels.

    What equilibration contributes, several eV per atom, shifts whenever electronegativities and hardnesses do.

    kept  atomic numbers whose energies stay
    """
    free = [index for index, number in enumerate(model.config.species) if number not in kept]
    if not free:
        return
    with torch.no_grad():
        batches = [joined(part) for part in filled_batches(examples, ATOMS_AT_ONCE, None)]
        device = model.reference_energies.device
        explained = torch.cat([model(batch.batch.to(device)).total.cpu() for batch in batches])
    labels = torch.cat([example.labels.energy for example in examples])
    weights = torch.cat([example.labels.weights[:, PROPERTIES.index("energy")] for example in examples])
    change = torch.zeros(len(model.config.species), dtype=torch.float64)
    counts = composition(examples, model.config.species)[:, free]
    change[free] = fitted_energies(labels - explained, counts, weights)
    model.set_reference_energies(model.reference_energies + change.to(device))


def force_scale(examples: Sequence[Example]) -> float:
    """eV/Å  root mean square of the labelled force components; 1 without any."""
    forces = torch.cat([example.labels.forces.flatten() for example in examples])
    forces = forces[forces.isfinite()]
    scale = float(forces.square().mean().sqrt()) if len(forces) else 0.0
    return scale or 1.0


def energies_of_atoms(examples: Sequence[Example], species: Sequence[int]) -> Tensor:
    """(species,)  eV  of frames that hold one neutral atom without neighbours, the lowest of each element.

    raises  ValueError for an element without
    """
    lowest: dict[int, float] = {}
    for batch, labels in ((example.batch, example.labels) for example in examples):
        alone = batch.n_atoms == 1 and not batch.neighbors.mask.any() and not batch.total_charge.any()
        if alone and labels.energy.isfinite():
            number, energy = int(batch.numbers), float(labels.energy)
            lowest[number] = min(energy, lowest.get(number, energy))
    if missing := [number for number in species if number not in lowest]:
        raise ValueError(
            "training.reference_energies is isolated_atoms, but no training frame is a neutral atom of "
            f"{', '.join(Atoms(numbers=missing).symbols)} without neighbours and with an energy; "
            "add one of each, or set least_squares."
        )
    return torch.tensor([lowest[number] for number in species], dtype=torch.float64)


def isolated_energies(energies: dict[str, float], species: Sequence[int]) -> Tensor:
    """(species,)  eV  given by symbol or atomic number, e.g. {H: -13.6}.

    raises  ValueError for a symbol that is not an element, and for an element without energy
    """
    try:
        by_number = {
            int(name) if name.isdecimal() else int(Atoms([name]).numbers[0]): energy
            for name, energy in energies.items()
        }
    except KeyError as error:
        raise ValueError(f"training.reference_energies: {error} is not the symbol of an element") from None
    if missing := [number for number in species if number not in by_number]:
        raise ValueError(
            f"training.reference_energies has no energy for atomic numbers {missing}; "
            "give one for each element of the training frames, or set least_squares."
        )
    return torch.tensor([by_number[number] for number in species], dtype=torch.float64)
