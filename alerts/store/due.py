"""The outbox as the sender sees it: outcomes in batches, and retries that a stepping clock cannot strand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from sqlalchemy import Connection, bindparam, literal, select, update

from alerts.delivery.ports import Due, Fate, Outcome
from alerts.delivery.schedule import HORIZON_NS, URGENT
from alerts.notice import Notice
from alerts.store.database import Database
from alerts.store.outbox import WAITING, Outbox
from alerts.store.schema import outbox
from watchdog.core.finding import Severity

STEP_NS = 1_000_000_000  # how far the clock must go back to count as a step


@dataclass(frozen=True, slots=True)
class UrgentDue:
    """A notice of an incident that presses; `Due` for the sender."""

    notice: Notice
    attempts: int


class StoredOutbox:
    """`Outbox` with what the sender needs beside it. One thread uses it."""

    def __init__(self, database: Database) -> None:
        self._database, self._outbox = database, Outbox(database)
        self._seen_ns: dict[str, int] = {}

    def due(self, now_ns: int, receiver: str, limit: int, *, urgent: bool = False) -> Sequence[Due]:
        """What may be sent now, or the urgent of it. When the clock went back, what waits is brought back too."""
        before = self._seen_ns.get(receiver)
        if before is None:
            self._pull_in(receiver, now_ns + HORIZON_NS, None, now_ns)
        elif now_ns < before - STEP_NS:
            self._pull_in(receiver, now_ns, before - now_ns, now_ns)
        self._seen_ns[receiver] = now_ns
        if urgent:
            return self._database.read(lambda connection: _urgent(connection, now_ns, receiver, limit))
        return self._outbox.due(now_ns, receiver, limit)

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        """Store what became of attempts: what was sent in one statement, the (few) failures one by one after it."""
        sent: list[dict[str, object]] = [
            {"notice": one.id, "answered": one.status, "at_ns": one.at_ns} for one in outcomes if one.fate is Fate.SENT
        ]
        if sent:
            self._database.write(lambda connection: _mark_sent(connection, sent))
        for one in outcomes:
            if one.fate is Fate.DEAD:
                self._outbox.dead(one.id, one.error, one.at_ns, one.status)
            elif one.retry_at_ns is not None:
                self._outbox.failed(one.id, one.error, one.retry_at_ns, one.status)

    def _pull_in(self, receiver: str, beyond_ns: int, earlier_ns: int | None, now_ns: int) -> None:
        """Make what is due after `beyond_ns` due so much earlier, or now.

        At a start the step is unknown; but no retry is ever planned beyond the horizon, so what lies there was stored
        by a clock that ran ahead.
        """
        due = outbox.c.next_ns
        far = (WAITING, outbox.c.receiver == receiver, due > beyond_ns)
        statement = update(outbox).where(*far).values(next_ns=now_ns if earlier_ns is None else due - earlier_ns)
        self._database.write(lambda connection: connection.execute(statement))


def _mark_sent(connection: Connection, sent: Sequence[dict[str, object]]) -> None:
    """Also one that was given up while its attempt was under way: it did arrive."""
    statement = (
        update(outbox)
        .where(outbox.c.id == bindparam("notice"), outbox.c.status != "sent")
        .values(
            status="sent",
            attempts=outbox.c.attempts + 1,
            last_status=bindparam("answered"),
            last_error=None,
            settled_ns=bindparam("at_ns"),
        )
    )
    connection.execute(statement, sent)


def _urgent(connection: Connection, now_ns: int, receiver: str, limit: int) -> list[UrgentDue]:
    """Notices of incidents for which something urgent is due, in order, with what must go before it."""
    columns, other = outbox.c, outbox.alias("other").c
    waits = other.status == literal("waiting", literal_execute=True)
    presses = (waits, other.receiver == receiver, other.next_ns <= now_ns, other.severity.in_(URGENT))
    incidents = select(other.incident_id).where(*presses).order_by(other.position).limit(limit)
    own = (WAITING, columns.receiver == receiver, columns.incident_id.in_(incidents))
    rows = connection.execute(select(outbox).where(*own).order_by(columns.position).limit(limit))
    found, blocked = [], set()
    for row in rows:
        if row.next_ns > now_ns:
            blocked.add(row.incident_id)  # its retry is not due, and later notices of the incident wait for it
        if row.incident_id not in blocked:
            severity, body = cast("Severity", row.severity), json.loads(row.body)
            told = Notice(row.id, row.receiver, row.incident_id, row.type, severity, row.created_ns, body)
            found.append(UrgentDue(told, row.attempts))
    return found
