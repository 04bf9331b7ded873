"""One number, and what it may be."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """Something that was measured.

    value  NaN where the measurement broke down, as `name` then explains
    limit  the largest value of a healthy model
    unit   of both; empty for plain numbers
    """

    name: str
    value: float
    limit: float
    unit: str

    @property
    def passed(self) -> bool:
        return self.value <= self.limit  # NaN does not
