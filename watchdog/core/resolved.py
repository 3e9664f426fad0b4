"""Facts of a connection that few kinds of events have, resolved once for all events of the connection.

Rules may ask them in exceptions (`rules/exceptions.py`). The engine adds them to events as hidden columns
(`watchdog/engine/connection_facts.py`), which nothing prints.
"""

from __future__ import annotations

from typing import Final

from watchdog.core.kinds import KINDS

RESOLVED: Final = ("user_agent", "permissions")
"""Text fields of `p2p:version`, `rpc:peer` and others, which a connection has once."""
HIDDEN: Final = "__"
UNKNOWN: Final = "\0unknown"
"""The value where an event came before the fact, or the source never gave it."""
TELLING: Final[dict[str, frozenset[str]]] = {
    name: frozenset(kind for kind, entry in KINDS.items() if name in entry.fields and "conn" in entry.fields)
    for name in RESOLVED
}
"""By field, the kinds that have it."""


def hidden(name: str) -> str:
    """Return the name of the column with a resolved field."""
    return HIDDEN + name
