"""What the value of an expression can be: a range of numbers (truth is 0 to 1), a known text, or anything."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from low to high, both included."""

    low: float
    high: float

    @property
    def only(self) -> float | None:
        """The number, where the range holds just one."""
        return self.low if self.low == self.high else None


Can = Range | str | None  # None: anything
ZERO: Final = Range(0, 0)
MAYBE: Final = Range(0, 1)
COUNT: Final = Range(0, math.inf)
