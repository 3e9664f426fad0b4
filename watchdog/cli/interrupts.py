"""An interrupt that is noted, so that a command ends where its state is whole."""

from __future__ import annotations

import signal
from types import FrameType


class Interrupt:
    """Notes SIGINT and SIGTERM: the command stops at its next step; a second signal ends it at once."""

    def __init__(self) -> None:
        self._came = False
        self._previous = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        if self._came:
            raise KeyboardInterrupt
        self._came = True

    def came(self) -> bool:
        """Return whether to stop."""
        return self._came

    def restore(self) -> None:
        """Restore the previous handlers."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
