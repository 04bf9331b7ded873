"""Which sums a structure needs, by the method that its charges are to be found with. Above `slab` and `meshing`."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from cace_qeq.lattice import LARGEST_DENSE, EwaldPlan, Method, plan_ewald
from cace_qeq.meshing import REAL_SPACE_MARGIN, plan_mesh
from cace_qeq.slab import MARGIN, closed_cells, plan_slab, thickness_of

Floats = NDArray[np.float64]

# atoms up to which "auto" asks of a matrix what the model does; of larger ones it asks what it asks of pairs on a mesh
LARGEST_EXACT = 150


@dataclass(frozen=True)
class SumSettings:
    """What is asked of the sums.

    largest_width  Å  widest Gaussian σ that the structure may hold
    accuracy          relative size of the first neglected term of an Ewald sum
    method            of the solver
    mesh_accuracy     error of the potential of unit charges on a mesh, in units of that of one at 1 Å
    margin         Å  by which a slab may grow thicker
    """

    largest_width: float
    accuracy: float
    method: Method = "auto"
    mesh_accuracy: float = 1e-5
    margin: float = MARGIN


def plan_sums(cell: Floats, pbc: NDArray[np.bool_], positions: Floats, settings: SumSettings) -> EwaldPlan:
    """For a crystal or a slab.

    cell       (3, 3)     Å, rows are lattice vectors; that of an open direction counts for nothing
    pbc        (3,)       two or three periodic directions
    positions  (atom, 3)  Å
    """
    n_atoms, chosen, accuracy = len(positions), settings.method == "auto", settings.accuracy
    on_mesh = settings.method == "mesh" or (chosen and n_atoms > LARGEST_DENSE)
    if chosen and n_atoms > LARGEST_EXACT:
        accuracy = max(accuracy, REAL_SPACE_MARGIN * settings.mesh_accuracy)
    if pbc.all() and on_mesh:
        return plan_mesh(cell, n_atoms, settings.largest_width, settings.mesh_accuracy)
    if pbc.all():
        return plan_ewald(cell, n_atoms, settings.largest_width, accuracy)
    if on_mesh:
        return plan_slab_mesh(cell, pbc, positions, settings)
    return plan_slab(cell, pbc, positions, settings.largest_width, accuracy, settings.margin)


def plan_slab_mesh(cell: Floats, pbc: NDArray[np.bool_], positions: Floats, settings: SumSettings) -> EwaldPlan:
    """A mesh over the closed cell, which has to be higher than the slab by the real-space cutoff."""
    width, accuracy, n_atoms = settings.largest_width, settings.mesh_accuracy, len(positions)
    height = plan_slab(cell, pbc, positions, width, accuracy, settings.margin).height
    cutoff = plan_mesh(closed_cell(cell, pbc, height), n_atoms, width, accuracy).cutoff
    height = max(height, thickness_of(cell, pbc, positions) + cutoff + settings.margin)
    closed = closed_cell(cell, pbc, height)
    return replace(plan_mesh(closed, n_atoms, width, accuracy, cutoff + 1e-9), height=height)


def closed_cell(cell: Floats, pbc: NDArray[np.bool_], height: float) -> Floats:
    """(3, 3)  the cell of one slab with its open direction closed"""
    periodic = torch.tensor(cell * pbc[:, None]).unsqueeze(0)
    closed, _ = closed_cells(periodic, torch.tensor(pbc).unsqueeze(0), torch.tensor([height]))
    return np.asarray(closed[0].numpy())
