"""Tables of a batch in sizes that generated code was made for."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch.nn.functional import pad

from cace_qeq.compilation.code import SLOTS, Tensors, rounded_up
from cace_qeq.structures import EwaldTerms, Neighbors, Pairs

ROOM, MANY = 1.1, 64  # for more pairs and waves than there are, and by which their number grows
FAR = 1000  # cells along each vector, to a pair that only fills up


class Sizes(NamedTuple):
    """Of tables: neighbours in a row, real-space pairs, waves."""

    slots: int
    pairs: int
    waves: int

    def covers(self, other: "Sizes") -> bool:
        return all(mine >= its for mine, its in zip(self, other, strict=True))

    def with_room(self, other: "Sizes | None") -> "Sizes":
        """For what will come, and for another's."""
        room = Sizes(rounded_up(self.slots, SLOTS), *(rounded_up(int(ROOM * n), MANY) for n in self[1:]))
        return room if other is None else Sizes(*map(max, room, other))


@dataclass(frozen=True)
class Tables:
    """The integers of a batch.

    ewald  None where no sums are part of the code
    """

    neighbors: Neighbors
    ewald: EwaldTerms | None

    @property
    def sizes(self) -> Sizes:
        n_slots = self.neighbors.index.shape[1]
        if self.ewald is None:
            return Sizes(n_slots, 0, 0)
        return Sizes(n_slots, len(self.ewald.pairs.center), self.ewald.triplets.shape[1])

    @property
    def tensors(self) -> Tensors:
        index, shift, mask = self.neighbors.index, self.neighbors.shift, self.neighbors.mask
        if self.ewald is None:
            return index, shift, mask
        pairs = self.ewald.pairs
        return index, shift, mask, pairs.center, pairs.neighbor, pairs.shift, self.ewald.triplets, self.ewald.split

    def filled(self, sizes: Sizes) -> "Tables":
        """With empty slots, pairs beyond all interaction and waves of zeros up to these sizes."""
        missing = Sizes(*(most - number for most, number in zip(sizes, self.sizes, strict=True)))
        neighbors = wider(self.neighbors, missing.slots)
        if self.ewald is None:
            return Tables(neighbors, None)
        pairs = self.ewald.pairs
        shift = torch.cat([pairs.shift, pairs.shift.new_full((missing.pairs, 3), FAR)])
        more = Pairs(pad(pairs.center, (0, missing.pairs)), pad(pairs.neighbor, (0, missing.pairs)), shift)
        triplets = pad(self.ewald.triplets, (0, 0, 0, missing.waves))
        return Tables(neighbors, replace(self.ewald, pairs=more, triplets=triplets))


def wider(table: Neighbors, missing: int) -> Neighbors:
    """With a number of empty slots more in each row."""
    if missing == 0:
        return table
    return Neighbors(
        pad(table.index, (0, missing)), pad(table.shift, (0, 0, 0, missing)), pad(table.mask, (0, missing))
    )
