"""Events on their way from the node's callbacks to the pipe: bounded, and what finds no room is counted by kind."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from watchdog.sources.ipc.pipe import Events, Mark

MOST_BYTES: Final = 16 << 20
"""Of all kinds together: half a second of a node that connects old blocks at full speed, about."""


@dataclass(slots=True)
class _Kind:
    records: bytearray = field(default_factory=bytearray)
    count: int = 0
    value_sat: int = 0
    lost: int = 0
    from_ns: int = 0
    to_ns: int = 0


class Buffers:
    """Takes events of callbacks, and gives them as messages; one thread.

    wanted: kinds that something reads; others are counted only.
    """

    def __init__(self, wanted: frozenset[str], wall_ns: Callable[[], int] = time.time_ns) -> None:
        self._wanted, self._wall_ns = wanted, wall_ns
        self._kinds: dict[str, _Kind] = {}
        self._size = self._last_ns = 0
        self._begun: list[str] = []

    def now_ns(self) -> int:
        """Return the time of an event that comes now; it never falls."""
        self._last_ns = max(self._last_ns, self._wall_ns())
        return self._last_ns

    def begin(self, kinds: tuple[str, ...]) -> None:
        """Note that these kinds are subscribed from now on."""
        self._begun += kinds

    def add(self, kind: str, time_ns: int, *parts: bytes, value_sat: int = 0) -> None:
        """Take one event. parts: its record, and the bytes that follow it."""
        state = self._kinds.setdefault(kind, _Kind())
        state.count += 1
        state.value_sat += value_sat
        if kind not in self._wanted:
            return
        size = sum(map(len, parts))
        if self._size + size > MOST_BYTES:
            self._lose(state, time_ns)
            return
        for part in parts:
            state.records += part
        self._size += size

    def unreadable(self, kind: str) -> None:
        """Count an event that is none of the node's forms as lost."""
        self._lose(self._kinds.setdefault(kind, _Kind()), self.now_ns())

    def take(self) -> list[Events]:
        """Return all that has come since the last call, and what was lost."""
        taken = []
        for kind, state in self._kinds.items():
            if state.records or state.lost:
                taken.append(Events(kind, bytes(state.records), state.lost, state.from_ns, state.to_ns))
                state.records, state.lost, state.from_ns, state.to_ns = bytearray(), 0, 0, 0
        self._size = 0
        return taken

    def mark(self) -> Mark:
        """Return the promise that no earlier event follows; call it after `take`."""
        counts = {kind: (state.count, state.value_sat) for kind, state in self._kinds.items()}
        begun, self._begun = tuple(self._begun), []
        return Mark(self.now_ns(), counts, begun)

    def _lose(self, state: _Kind, time_ns: int) -> None:
        state.lost += 1
        state.from_ns = state.from_ns or time_ns
        state.to_ns = time_ns
