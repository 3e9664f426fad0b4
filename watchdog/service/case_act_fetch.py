"""Operators' acts on cases on their way from the database to the engines: at a start, and while the service runs."""

from __future__ import annotations

from collections.abc import Iterable

from alerts.store.case_acts import CaseActs
from watchdog.service.bounded_executor import BoundedExecutor
from watchdog.service.case_rows import CaseRows
from watchdog.service.engine_thread import EngineLoop


def take_case_acts(rows: CaseRows, stored: CaseActs) -> None:
    """Bring cases up to the acts that were stored after their checkpoint, or without a service. StoreError."""
    rows.acts.forget_after(stored.last_id())
    while acts := stored.after(rows.acts.taken):
        rows.acts.take(acts)


class CaseActFetch:
    """Passes acts to the engines, each once. Belongs to the event loop. housekeeping: runs the database calls."""

    def __init__(self, stored: CaseActs, housekeeping: BoundedExecutor) -> None:
        self._stored, self._housekeeping = stored, housekeeping
        self._given: dict[EngineLoop, int] = {}

    async def fetch(self, engines: Iterable[EngineLoop]) -> None:
        """Pass on what is new. StoreUnavailableError when the database does not answer."""
        self._given = {engine: self._given.get(engine, engine.watch.case_rows.acts.taken) for engine in engines}
        last = min(self._given.values(), default=0)
        acts = await self._housekeeping.ask(lambda: self._stored.after(last))
        for engine in self._given if acts else ():
            if engine.act((), acts):  # else it is behind: they are fetched again
                self._given[engine] = max(self._given[engine], acts[-1].id)
