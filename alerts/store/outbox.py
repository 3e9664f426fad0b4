"""The outbox: notices that wait for their receivers, and what became of those that do not wait any more."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from sqlalchemy import ColumnElement, Connection, Row, Select, exists, func, literal, select, update

from alerts.notice import Notice
from alerts.store.cursor import decoded_position, encoded_position
from alerts.store.database import Database, stored_text
from alerts.store.schema import outbox
from watchdog.core.errors import StateError
from watchdog.core.finding import Severity

Status = Literal["waiting", "sent", "dead"]
STATUSES: tuple[Status, ...] = ("waiting", "sent", "dead")
ERROR_LIMIT = 500  # characters of what a receiver or the network said
MOST_ROWS = 1_000

columns = outbox.c
_waiting = columns.status == literal("waiting", literal_execute=True)
"""Spelled out in the SQL, not bound: only then may the planner use the indexes of waiting rows."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A notice with its fate. Times are wall clock in ns; settled_ns: when it was sent or given up.

    position: order of the outbox, rising. attempts: tries so far. next_ns: when it is due (again), where it waits.
    last_status: HTTP status of the latest try, None without an answer.
    """

    notice: Notice
    position: int
    status: Status
    attempts: int
    next_ns: int
    settled_ns: int | None
    last_status: int | None
    last_error: str | None

    def as_object(self) -> dict[str, object]:
        """For the API and `watchdog deliveries --json`, without the body; times in unix seconds."""
        waits = self.status == "waiting"
        return {
            "id": self.notice.id,
            "receiver": self.notice.receiver,
            "incident": self.notice.incident_id,
            "type": self.notice.type,
            "severity": self.notice.severity,
            "status": self.status,
            "attempts": self.attempts,
            "created": self.notice.created_ns / 1e9,
            "next": self.next_ns / 1e9 if waits else None,
            "settled": None if self.settled_ns is None else self.settled_ns / 1e9,
            "last_status": self.last_status,
            "last_error": self.last_error,
        }


@dataclass(frozen=True, slots=True)
class DeliveryPage:
    """Deliveries, newest first; cursor: where the next page starts, None at the end."""

    rows: tuple[Delivery, ...]
    cursor: str | None


class Outbox:
    """Reads and marks notices; `IncidentWriter` puts them in. One sender at a time may claim.

    Order: a notice is due only when every earlier one of its incident to its receiver is due before it.
    Marks survive the end of the process, not always a loss of power: then a notice goes out again under its id.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def due(self, now_ns: int, receiver: str, limit: int) -> list[Delivery]:
        """What may be sent to a receiver now, in the order of its making; of more than `limit` the longest due."""
        return self._database.read(lambda connection: _due(connection, now_ns, receiver, limit))

    def claim(self, now_ns: int, receiver: str, limit: int, until_ns: int) -> list[Delivery]:
        """The same, taken: they are not due again before `until_ns`, unless `release` or a mark comes first."""

        def take(connection: Connection) -> list[Delivery]:
            found = _due(connection, now_ns, receiver, limit)
            _postpone(connection, found, until_ns)
            return found

        return self._database.write(take)

    def release(self, now_ns: int) -> int:
        """Make due what an ended process had claimed; how many. To be called before the first claim."""
        statement = update(outbox).where(_waiting, columns.claimed).values(claimed=False, next_ns=now_ns)
        return self._database.write(lambda connection: connection.execute(statement).rowcount)

    def next_due_ns(self, receiver: str) -> int | None:
        """When the next of a receiver's notices is due; None when none waits."""
        statement = select(func.min(columns.next_ns)).where(_waiting, columns.receiver == receiver)
        return self._database.read(lambda connection: connection.execute(statement).scalar())

    def sent(self, id_: str, status: int, at_ns: int) -> None:
        """The receiver took it, with this HTTP status."""
        self._mark(id_, status="sent", last_status=status, last_error=None, settled_ns=at_ns)

    def failed(self, id_: str, error: str, retry_at_ns: int, status: int | None = None) -> None:
        """A try failed; the next is at `retry_at_ns`, and later notices of the incident wait as long.

        `error` must hold no secret: it is stored and shown.
        """

        def mark(connection: Connection) -> None:
            found = _one(connection, id_)
            tried = {"attempts": columns.attempts + 1, "last_status": status, "last_error": _error_text(error)}
            own = columns.position == found.position
            connection.execute(update(outbox).where(own, _waiting).values(claimed=False, next_ns=retry_at_ns, **tried))
            later = (
                _waiting,
                columns.receiver == found.notice.receiver,
                columns.incident_id == found.notice.incident_id,
                columns.position > found.position,
                columns.next_ns < retry_at_ns,
            )
            connection.execute(update(outbox).where(*later).values(next_ns=retry_at_ns))

        self._database.write(mark)

    def dead(self, id_: str, error: str, at_ns: int, status: int | None = None) -> None:
        """Given up; it stays for `resend`, and the incident's later notices go on."""
        self._mark(id_, status="dead", last_status=status, last_error=_error_text(error), settled_ns=at_ns)

    def resend(self, id_: str, now_ns: int) -> Delivery:
        """Send it (again) under its id, from the first try on; StateError when there is none with this id."""

        def again(connection: Connection) -> Delivery:
            _one(connection, id_)
            fresh = {"status": "waiting", "claimed": False, "attempts": 0, "next_ns": now_ns, "settled_ns": None}
            connection.execute(update(outbox).where(columns.id == id_).values(**fresh))
            return _one(connection, id_)

        return self._database.write(again)

    def one(self, id_: str) -> Delivery:
        """StateError when there is none with this id."""
        return self._database.read(lambda connection: _one(connection, id_))

    def counts(self) -> dict[tuple[str, Status], int]:
        """How many wait and how many were given up, by (receiver, status); those that were sent are not counted."""
        counted = [columns.receiver, columns.status, func.count()]
        statement = (
            select(*counted).where(columns.status.in_(("waiting", "dead"))).group_by(columns.receiver, columns.status)
        )
        rows = self._database.read(lambda connection: connection.execute(statement).all())
        return {(receiver, cast("Status", status)): count for receiver, status, count in rows}

    def page(
        self,
        *,
        receiver: str | None = None,
        status: Status | None = None,
        incident: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> DeliveryPage:
        """Deliveries from the newest on, without their bodies. CursorError when the cursor is none of ours."""
        limit = min(max(limit, 1), MOST_ROWS)
        before = None if cursor is None else decoded_position(cursor)
        wanted: list[ColumnElement[bool]] = []
        if incident is not None:
            wanted.append(columns.incident_id == incident)
        if receiver is not None:
            wanted.append(columns.receiver == receiver)
        statuses: Sequence[Status] = (status,) if status else STATUSES if receiver and not incident else ()

        def look(connection: Connection) -> list[Delivery]:
            found: list[Delivery] = []
            for one in statuses or (None,):
                same = [] if one is None else [columns.status == one]
                found += _rows(connection, _newest([*wanted, *same], before, limit + 1), with_body=False)
            return sorted(found, key=lambda row: -row.position)[: limit + 1]

        rows = self._database.read(look)
        following = encoded_position(rows[limit - 1].position) if len(rows) > limit else None
        return DeliveryPage(tuple(rows[:limit]), following)

    def _mark(self, id_: str, **values: object) -> None:
        statement = (
            update(outbox)
            .where(columns.id == id_, _waiting)
            .values(claimed=False, attempts=columns.attempts + 1, **values)
        )
        self._database.write(lambda connection: connection.execute(statement))


def _due(connection: Connection, now_ns: int, receiver: str, limit: int) -> list[Delivery]:
    """A later notice may be due before an earlier one of its incident that waits for its retry: it is left out.

    So is one whose earlier ones are not all among those that were found. The first that waits of an incident is due no
    later than those that are found behind it, so it is found too, and something is given out whenever something is due.
    """
    earlier = outbox.alias("earlier")
    same = (
        earlier.c.receiver == columns.receiver,
        earlier.c.incident_id == columns.incident_id,
        earlier.c.status == literal("waiting", literal_execute=True),
        earlier.c.position < columns.position,
    )
    ahead = select(func.count()).select_from(earlier).where(*same).correlate(outbox).scalar_subquery().label("ahead")
    found = (
        select(columns.position)
        .where(_waiting, columns.receiver == receiver, columns.next_ns <= now_ns)
        .where(~exists().where(*same, earlier.c.next_ns > columns.next_ns))
        .order_by(columns.next_ns, columns.position)
        .limit(limit)
    )
    statement = select(outbox, ahead).where(columns.position.in_(found)).order_by(columns.position)
    chains: Counter[str] = Counter()
    ready = []
    for row in connection.execute(statement):
        if row.ahead == chains[row.incident_id]:
            chains[row.incident_id] += 1
            ready.append(_delivery(row, with_body=True))
    return ready


def _postpone(connection: Connection, found: Collection[Delivery], until_ns: int) -> None:
    """Nobody else is given what was found; what waits behind it is blocked by it anyway."""
    positions = [one.position for one in found]
    for start in range(0, len(positions), 500):
        portion = columns.position.in_(positions[start : start + 500])
        connection.execute(update(outbox).where(portion).values(claimed=True, next_ns=until_ns))


def _newest(wanted: Sequence[ColumnElement[bool]], before: int | None, limit: int) -> Select[Any]:
    shown = [column for column in columns if column.name != "body"]
    statement = select(*shown).where(*wanted)
    if before is not None:
        statement = statement.where(columns.position < before)
    return statement.order_by(columns.position.desc()).limit(limit)


def _one(connection: Connection, id_: str) -> Delivery:
    found = _rows(connection, select(outbox).where(columns.id == id_))
    if not found:
        raise StateError(f"no delivery {id_!r}")
    return found[0]


def _rows(connection: Connection, statement: Select[Any], *, with_body: bool = True) -> list[Delivery]:
    return [_delivery(row, with_body=with_body) for row in connection.execute(statement)]


def _delivery(row: Row[Any], *, with_body: bool) -> Delivery:  # Any: SQLAlchemy's type for a row of any columns
    body = json.loads(row.body) if with_body else {}
    notice = Notice(
        row.id, row.receiver, row.incident_id, row.type, cast("Severity", row.severity), row.created_ns, body
    )
    return Delivery(
        notice=notice,
        position=row.position,
        status=cast("Status", row.status),
        attempts=row.attempts,
        next_ns=row.next_ns,
        settled_ns=row.settled_ns,
        last_status=row.last_status,
        last_error=row.last_error,
    )


def _error_text(error: str) -> str:
    return stored_text(error[:ERROR_LIMIT])
