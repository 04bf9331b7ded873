"""What was hoped for, and whether it was reached."""

from collections.abc import Mapping
from dataclasses import dataclass

from speed.plan import EQUIVALENT, EQUIVALENT_COMPILED, MACE_64, MACE_128, NEQUIP, NEQUIP_COMPILED, S_COMPILED, S

LARGE, SMALL = "forces_12288/atom", "forces_648/atom"

Key = tuple[str, str]  # item, subject
Values = Mapping[Key, float]


@dataclass(frozen=True)
class Goal:
    """One measured value against another, or against a number.

    measured, reference  (item, subject)
    at_most              of their quotient; of the value itself without a reference
    """

    quantity: str
    measured: Key
    at_most: float
    reference: Key | None = None

    @property
    def wording(self) -> str:
        if self.reference is None:
            return f"≤ {self.at_most:g}"
        factor = f"1/{1 / self.at_most:g}" if self.at_most < 1 else f"{self.at_most:g} ×"
        item, subject = self.reference
        place = "" if item == self.measured[0] else f", {item}"
        return f"≤ {factor} {subject}{place}"

    def reached(self, values: Values) -> float | None:
        """The quotient or the value; None if something was not measured."""
        if self.measured not in values:
            return None
        if self.reference is None:
            return values[self.measured]
        return values[self.measured] / values[self.reference] if self.reference in values else None

    def met(self, values: Values) -> bool | None:
        reached = self.reached(values)
        return None if reached is None else reached <= self.at_most


def against(quantity: str, item: str, subject: str, at_most: float, peer: str) -> Goal:
    """A subject against a peer, both at the same item."""
    return Goal(quantity, (item, subject), at_most, (item, peer))


def within(quantity: str, subject: str, item: str, at_most: float, other: str) -> Goal:
    """A subject at one item against itself at another."""
    return Goal(quantity, (item, subject), at_most, (other, subject))


GOALS = (
    against("E + F + stress, 192 atoms, equivalent", "forces_192", EQUIVALENT, 1 / 5, NEQUIP),
    against("E + F + stress, 192 atoms, equivalent", "forces_192", EQUIVALENT, 1 / 3, NEQUIP_COMPILED),
    against("the same, both compiled", "forces_192", EQUIVALENT_COMPILED, 1 / 3, NEQUIP_COMPILED),
    against("E + F + stress, 192 atoms, equivalent", "forces_192", EQUIVALENT, 1 / 18, MACE_64),
    against("the same, compiled", "forces_192", EQUIVALENT_COMPILED, 1 / 18, MACE_64),
    against("E + F + stress, 1536 atoms, equivalent", "forces_1536", EQUIVALENT, 1 / 9, NEQUIP),
    against("the same, compiled", "forces_1536", EQUIVALENT_COMPILED, 1 / 9, NEQUIP),
    within("float64 against float32, equivalent", EQUIVALENT, "forces_192_float64", 1.8, "forces_192"),
    within("float64 against float32, preset S", S, "forces_192_float64", 1.8, "forces_192"),
    against("E + F + stress, 192 atoms, preset S", "forces_192", S, 1 / 2, NEQUIP),
    against("E + F + stress, 192 atoms, preset S", "forces_192", S, 1 / 10, MACE_128),
    against("training step, 4 × 192 atoms, equivalent", "train_4x192", EQUIVALENT, 1 / 4, NEQUIP),
    against("training step, 4 × 192 atoms, preset S", "train_4x192", S, 1 / 1.5, NEQUIP),
    within("ASE call, lists kept, against the raw model, equivalent", EQUIVALENT, "ase_192", 1.25, "forces_192"),
    within("ASE call, lists kept, against the raw model, preset S", S, "ase_192", 1.25, "forces_192"),
    within("ASE call, lists anew, against the raw model, equivalent", EQUIVALENT, "ase_anew_192", 1.25, "forces_192"),
    within("ASE call, lists anew, against the raw model, preset S", S, "ase_anew_192", 1.25, "forces_192"),
    against("ethanol, MD step through ASE, equivalent", "dynamics_ethanol", EQUIVALENT, 1 / 2, NEQUIP),
    against("ethanol, MD step through ASE, preset S", "dynamics_ethanol", S, 1 / 2, NEQUIP),
    against("the same, both compiled, equivalent", "dynamics_ethanol", EQUIVALENT_COMPILED, 1 / 2, NEQUIP_COMPILED),
    against("the same, both compiled, preset S", "dynamics_ethanol", S_COMPILED, 1 / 2, NEQUIP_COMPILED),
    within("time per atom, 12 288 against 648 atoms, equivalent", EQUIVALENT, LARGE, 1.3, SMALL),
    within("time per atom, 12 288 against 648 atoms, preset S", S, LARGE, 1.3, SMALL),
    Goal("peak memory slope, kB per atom, equivalent", ("memory", EQUIVALENT), 80.0),
    Goal("peak memory slope, kB per atom, preset S", ("memory", S), 80.0),
    Goal("peak memory, 107 811 atoms, GB, equivalent", ("memory_largest", EQUIVALENT), 12.0),
)
