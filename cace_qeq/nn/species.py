"""From atomic numbers to the indices of the elements that a model knows."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

UNKNOWN = -1
N_ELEMENTS = 118


class SpeciesIndex(nn.Module):
    """Position of each atom's element in the model's list.

    Raises ValueError for an element that the model was not built for.
    """

    table: Tensor

    def __init__(self, species: Sequence[int]):
        super().__init__()
        self.species = tuple(species)
        table = torch.full((N_ELEMENTS + 1,), UNKNOWN)
        table[list(species)] = torch.arange(len(species))
        self.register_buffer("table", table, persistent=False)

    def forward(self, numbers: Tensor) -> Tensor:
        """numbers (atom,) -> index (atom,)"""
        index = self.table.index_select(0, numbers.clamp(max=N_ELEMENTS))
        if index.numel() and int(index.min()) < 0:
            atom = int(torch.nonzero(index < 0)[0])
            raise ValueError(
                f"atom {atom} of the batch has atomic number {int(numbers[atom])}, but the model knows only "
                f"{list(self.species)}; train a model with this element among `species`."
            )
        return index
