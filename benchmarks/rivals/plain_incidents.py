"""Findings and incidents as a plain loop over dictionaries: no windows shared, no evidence, no history, no bounds.

Each address has a list of its event times; one that has an event opens an incident, one whose last event is an hour old
clears, and is resolved ten minutes later. We know no shorter program that says which address opened and cleared when.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

SECOND = 1_000_000_000
OVER_NS, QUIET_NS = 3_600 * SECOND, 600 * SECOND


@dataclass(slots=True)
class PlainIncident:
    """One incident."""

    id: str
    address: str
    opened_ns: int
    summary: str
    cleared_ns: int = 0
    resolved_ns: int = 0


class PlainIncidents:
    """Open and settled incidents by address."""

    def __init__(self) -> None:
        self.open: dict[str, PlainIncident] = {}
        self.settled: list[PlainIncident] = []
        self._window: dict[str, deque[int]] = {}
        self._leaving: deque[tuple[int, str]] = deque()

    def take(self, addresses: Sequence[str], start_ns: int, step_ns: int) -> None:
        """One event for each address, `step_ns` apart, and then the hour in which all of them clear."""
        now_ns = start_ns
        for address in addresses:
            now_ns += step_ns
            self._expire(now_ns)
            times = self._window.setdefault(address, deque())
            times.append(now_ns)
            self._leaving.append((now_ns + OVER_NS, address))
            if address not in self.open:
                summary = f"{address} misbehaved {len(times)} times in 1 h"
                self.open[address] = PlainIncident(f"{address}@{now_ns}", address, now_ns, summary)
        self._expire(now_ns + 2 * OVER_NS)

    def _expire(self, now_ns: int) -> None:
        while self._leaving and self._leaving[0][0] <= now_ns:
            left_ns, address = self._leaving.popleft()
            times = self._window[address]
            times.popleft()
            if not times:
                del self._window[address]
                incident = self.open.pop(address)
                incident.cleared_ns, incident.resolved_ns = left_ns, left_ns + QUIET_NS
                self.settled.append(incident)
