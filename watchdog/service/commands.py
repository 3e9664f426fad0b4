"""Commands for an engine's thread: run between two steps, in their order."""

from __future__ import annotations

import queue
from collections.abc import Callable
from typing import Final

EngineCommand = Callable[[], None]
COMMANDS_MOST: Final = 16  # each has up to a thousand actions, and the database keeps all of them


class Commands:
    """A bounded queue: any thread puts, the engine's takes. wake: called after each put. refused: for want of room."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake, self._queue = wake, queue.Queue[EngineCommand](COMMANDS_MOST)
        self.refused = 0

    def __len__(self) -> int:
        return self._queue.qsize()

    @property
    def full(self) -> bool:
        """Whether a put would be refused."""
        return self._queue.full()

    def put(self, command: EngineCommand) -> bool:
        """Queue a command and wake the thread; False when the queue is full: try again later."""
        try:
            self._queue.put_nowait(command)
        except queue.Full:
            self.refused += 1
            return False
        self._wake()
        return True

    def take(self) -> EngineCommand | None:
        """Return the next command; None without any."""
        try:
            return self._queue.get_nowait()
        except queue.Empty:
            return None
