"""The place of an `ipc:` source, its settings, and what is said of them before anything is opened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from watchdog.core.errors import SourceError
from watchdog.sources.rpc.settings import SETTINGS as RPC_SETTINGS
from watchdog.sources.scheme import Setting

LONGEST: Final = 107  # bytes of a path; sockaddr_un holds 108 with the zero at its end (Linux unix(7))
_SHARED: Final = frozenset({"timeout", "budget", "intervals", "chain"})
DANGER: Final = (
    "subscribe: the node waits for each of our callbacks, and a subscriber that is killed has ended a node of the "
    "tracing branch; use it on nodes for research only"
)
SETTINGS: Final = (
    *(one for one in RPC_SETTINGS if one.name in _SHARED),
    Setting(
        "subscribe", "flag",
        "Take notifications of the chain, the coins cache and connections from a node that offers them. **Dangerous**: "
        "the node waits for each callback, and a subscriber that is killed has ended a node.", "false",
    ),
)  # fmt: skip
"""Those of `rpc:` that say how to poll, and one of its own."""


def check_ipc(place: str, settings: Mapping[str, object]) -> str:
    """Return a warning about a source, empty without one. Raise SourceError for a path that no socket can have."""
    if "\0" in place:
        raise SourceError("ipc: the path of the socket has a zero byte")
    size = len(place.encode("utf-8", "surrogateescape"))
    if size > LONGEST:
        raise SourceError(f"ipc: the path of the socket has {size} bytes; {LONGEST} are the limit of the system")
    return DANGER if settings.get("subscribe") else ""
