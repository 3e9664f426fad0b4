"""A word from a source that hears of a new tip at once to one that asks the node now and then."""

from __future__ import annotations

import threading
from collections.abc import Callable


class TipSignal:
    """Announces to listeners that the node has a new tip; one for all sources of a node. From any thread.

    Listeners decide themselves how often they act on it. A listener must return at once and never raise.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: tuple[Callable[[], None], ...] = ()

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` at each new tip, in the thread of the source that hears of it; return what ends this."""
        with self._lock:
            self._listeners = (*self._listeners, listener)

        def leave() -> None:
            with self._lock:
                self._listeners = tuple(one for one in self._listeners if one is not listener)

        return leave

    def ring(self) -> None:
        """Announce a new tip."""
        for listener in self._listeners:
            listener()
