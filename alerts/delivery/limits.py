"""Threads for attempts that block, with an end that reaches them: `EndSignal` calls what is registered, once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class EndSignal:
    """The end of all blocking attempts. Any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: dict[int, Callable[[], None]] = {}
        self._count = 0
        self.over = False

    @contextmanager
    def reaching(self, call: Callable[[], None]) -> Iterator[None]:
        """Have `call` made while the block runs, if the end comes then; at once if it is there."""
        with self._lock:
            self._count += 1
            number = self._count
            self._calls[number] = call
            late = self.over
        if late:
            call()
        try:
            yield
        finally:
            with self._lock:
                self._calls.pop(number, None)

    def come(self) -> None:
        """End everything that blocks."""
        with self._lock:
            self.over = True
            calls = list(self._calls.values())
        for call in calls:
            call()
