"""Message types, connection types and flows as small numbers: what can be counted in arrays of a fixed size.

A peer chooses the type of a message, so types that Core does not know are one, `OTHER`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from watchdog.core.arrays import Ints
from watchdog.core.batch import Strings
from watchdog.core.core_constants import NET_MESSAGE_TYPES
from watchdog.core.kinds import KINDS

OTHER_TYPE: Final = "other"
MESSAGE_TYPES: Final = (*NET_MESSAGE_TYPES, OTHER_TYPE)
FLOWS: Final = ("received", "sent")
FLOW_OF_KIND: Final[Mapping[str, int]] = {"net:inbound_message": 0, "net:outbound_message": 1}
CONNECTION_TYPES: Final = KINDS["net:inbound_message"].fields["connection_type"].values
_TYPES: Final = {name: code for code, name in enumerate(MESSAGE_TYPES)}
_CONNECTIONS: Final = {name: code for code, name in enumerate(CONNECTION_TYPES)}


class Coder:
    """Numbers of the texts of a column; a source often sends the same dictionary again, so the last one is kept."""

    def __init__(self, codes: Mapping[str, int], other: int) -> None:
        self._codes, self._other = codes, other
        self._last: tuple[tuple[str, ...], Ints] = ((), np.zeros(0, np.int64))

    def of(self, column: Strings) -> Ints:
        """Return the number of each row's text."""
        values, numbers = self._last
        if values is not column.values:
            numbers = np.array([self._codes.get(value, self._other) for value in column.values], np.int64)
            self._last = (column.values, numbers)
        return numbers[column.codes]


def type_coder() -> Coder:
    """Return a coder of message types."""
    return Coder(_TYPES, _TYPES[OTHER_TYPE])


def connection_coder() -> Coder:
    """Return a coder of connection types."""
    return Coder(_CONNECTIONS, _CONNECTIONS["unknown"])
