"""Stored changes and delivery attempts, announced to live pages."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from alerts.case.document import StoredCase
from alerts.delivery.ports import Due, Fate, Outcome
from alerts.notice import ChangeRecord
from alerts.store.cases import outer
from alerts.store.outbox import Delivery
from watchdog.service.hub import Hub

NAMED = 4  # parties of an announced case; a page that shows more reads the case
LEFT_OUT = ("incidents", "announced", "related")  # of an announced case


class Announcer:
    """Renders announcements for the hub, only while a page is connected."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Announce from now on. Called in the event loop that the hub belongs to."""
        self._loop = asyncio.get_running_loop()

    def stored(self, records: Sequence[ChangeRecord]) -> None:
        """Announce changes that are in the database. Called in the writer's thread."""
        if self._loop is not None and not self._loop.is_closed() and self._hub.watchers:
            incidents = [_changed(record) for record in records]
            self._loop.call_soon_threadsafe(self._announce, "incident", incidents)

    def cases_stored(self, cases: Sequence[StoredCase]) -> None:
        """Announce cases that are in the database. Called in the writer's thread."""
        if cases and self._loop is not None and not self._loop.is_closed() and self._hub.watchers:
            self._loop.call_soon_threadsafe(self._announce, "case", [announced_case(one.document) for one in cases])

    def attempted(self, due: Due, outcome: Outcome) -> None:
        """Announce a delivery attempt whose outcome is in the database. Called in the event loop."""
        if self._hub.watchers:
            self._hub.announce("delivery", _attempted(due, outcome).as_object())

    def _announce(self, event: str, objects: Sequence[dict[str, object]]) -> None:
        for one in objects:
            self._hub.announce(event, one)


def announced_case(document: Mapping[str, Any]) -> dict[str, object]:
    """Return a case as a page follows it: a row of the list with its first names and latest notice only."""
    found = {name: value for name, value in outer(document).items() if name not in LEFT_OUT}
    parties, notices = found["parties"], found["notices"]
    found["parties"], found["notices"] = parties[:NAMED], notices[-1:]
    found["parties_beyond"] += len(parties) - len(found["parties"])
    found["notices_beyond"] += len(notices) - len(found["notices"])
    return found


def _changed(record: ChangeRecord) -> dict[str, object]:
    """Return the incident without its evidence and steps, with the change."""
    change = record.change
    incident = {name: value for name, value in record.document.items() if name not in ("evidence", "changes")}
    step = {
        "sequence": change.sequence,
        "reason": change.reason.value,
        "text": change.text,
        "time": change.time_ns / 1e9,
    }
    return {**incident, "change": step}


def _attempted(due: Due, outcome: Outcome) -> Delivery:
    """Return the delivery as the outbox has it after an attempt."""
    waits = outcome.fate is Fate.RETRY
    opened = due.notice.body.get("opened")
    return Delivery(
        notice=due.notice,
        position=0,  # not shown
        status="waiting" if waits else "sent" if outcome.fate is Fate.SENT else "dead",
        attempts=due.attempts + 1,
        next_ns=outcome.retry_at_ns or 0,
        settled_ns=None if waits else outcome.at_ns,
        last_status=outcome.status,
        last_error=outcome.error or None,
        incident_opened_ns=round(opened * 1e9) if due.notice.incident_id and isinstance(opened, int | float) else None,
    )
