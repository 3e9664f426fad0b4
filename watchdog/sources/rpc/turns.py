"""Turns of big answers: among all nodes of this process, one address table at a time is asked, read and compared.

So many nodes cost the memory of one big answer. No poller waits in line: one that finds the turn taken makes its
other calls, and tries again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

BIG_CALL: Final = "getrawaddrman"
RETRY_S: Final = 0.25


class BigTurns:
    """Shared by the pollers of several nodes; any thread."""

    def __init__(self) -> None:
        self._taken = threading.Lock()

    def in_turn(self, work: Callable[[], bool]) -> bool | None:
        """Do the work and return its result; None, with nothing done, while another poller has the turn."""
        if not self._taken.acquire(blocking=False):
            return None
        try:
            return work()
        finally:
            self._taken.release()


OF_THIS_PROCESS: Final = BigTurns()
