"""The outbox: notices that wait for their receivers, and the outcomes of the others."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

from sqlalchemy import ColumnElement, Connection, Row, Select, exists, func, or_, select, update

from alerts.notice import Notice
from alerts.store.case_fates import CaseFates, fates_of
from alerts.store.cursor import decoded_position, encoded_position
from alerts.store.database import Database, stored_text
from alerts.store.ready import WAITING, ready_rows
from alerts.store.schema import case_aliases, cases, incidents, outbox
from alerts.store.threads import kept_texts
from watchdog.core.errors import WatchdogError
from watchdog.core.finding import Severity

Status = Literal["waiting", "sent", "merged", "dead"]
STATUSES: tuple[Status, ...] = ("waiting", "sent", "merged", "dead")
ERROR_LIMIT = 500  # characters of what a receiver or the network said
MOST_ROWS = 1_000
PORTION = 1_000  # rows changed in one transaction, which holds the write lock for hundredths of a second

columns = outbox.c


class UnknownDeliveryError(WatchdogError):
    """No delivery has this id."""


class NoReceiverError(WatchdogError):
    """A delivery's receiver is not in the configuration: nothing would be sent."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A notice with its fate. Times are wall clock in ns; settled_ns: when it was sent or became a dead letter.

    position: order of the outbox, rising. attempts: tries so far. next_ns: when it is due (again), where it waits.
    last_status: HTTP status of the latest try, None without an answer. incident_opened_ns: event time, None when the
    incident is gone; another time than ours for what a recording has shown. merged_into: id of the notice that names
    this opening in its place, None for a notice of its own; it waits until that one was accepted. kept: see
    `alerts.store.threads`; of what is due only.
    """

    notice: Notice
    position: int
    status: Status
    attempts: int
    next_ns: int
    settled_ns: int | None
    last_status: int | None
    last_error: str | None
    incident_opened_ns: int | None = None
    merged_into: str | None = None
    kept: str = ""

    def as_object(self) -> dict[str, object]:
        """Return the object for the API and `watchdog deliveries --json`, without body; times in unix seconds."""
        waits = self.status == "waiting"
        return {
            "id": self.notice.id,
            "receiver": self.notice.receiver,
            "incident": self.notice.incident_id or None,
            "incident_opened": None if self.incident_opened_ns is None else self.incident_opened_ns / 1e9,
            "type": self.notice.type,
            "severity": self.notice.severity,
            "status": self.status,
            "attempts": self.attempts,
            "created": self.notice.created_ns / 1e9,
            "next": self.next_ns / 1e9 if waits else None,
            "settled": None if self.settled_ns is None else self.settled_ns / 1e9,
            "last_status": self.last_status,
            "last_error": self.last_error,
            "merged_into": self.merged_into,
            "case": self.notice.case_id or None,
        }


@dataclass(frozen=True, slots=True)
class DeliveryPage:
    """Deliveries, newest first; cursor: where the next page starts, None at the end."""

    rows: tuple[Delivery, ...]
    cursor: str | None


class Deliveries:
    """Reads the outbox, for pages, the API and the command line. Its methods block."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def one(self, id_: str) -> Delivery:
        """Return the delivery with this id. UnknownDeliveryError: no such id."""
        return self._database.read(lambda connection: _one(connection, id_))

    def counts(self) -> dict[tuple[str, Status], int]:
        """Return the numbers of waiting notices and dead letters, by (receiver, status)."""
        counted = [columns.receiver, columns.status, func.count()]
        statement = (
            select(*counted).where(columns.status.in_(("waiting", "dead"))).group_by(columns.receiver, columns.status)
        )
        rows = self._database.read(lambda connection: connection.execute(statement).all())
        return {(receiver, cast("Status", status)): count for receiver, status, count in rows}

    def fates(self, case: str, receiver: str | None = None) -> CaseFates | None:
        """Return the decisions on a case with the state of each notice; see `alerts.store.case_fates.fates_of`."""
        return fates_of(self._database, case, receiver)

    def page(
        self,
        *,
        receiver: str | None = None,
        status: Status | None = None,
        incident: str | None = None,
        case: str | None = None,
        node: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> DeliveryPage:
        """Return deliveries from the newest on, without their bodies. CursorError: the cursor is invalid."""
        limit = min(max(limit, 1), MOST_ROWS)
        before = None if cursor is None else decoded_position(cursor)
        wanted: list[ColumnElement[bool]] = []
        if incident is not None:
            wanted.append(columns.incident_id == stored_text(incident))
        if case is not None:
            now = select(case_aliases.c.case_id).where(case_aliases.c.alias == stored_text(case))
            wanted.append(or_(columns.case_id == stored_text(case), columns.case_id.in_(now)))
        if receiver is not None:
            wanted.append(columns.receiver == stored_text(receiver))
        if node is not None:
            of_node = exists().where(incidents.c.id == columns.incident_id, incidents.c.node == stored_text(node))
            by_case = exists().where(cases.c.id == columns.case_id, cases.c.node == stored_text(node))
            wanted.append(or_(of_node, by_case))
        about = incident or case
        statuses: Sequence[Status] = (status,) if status else STATUSES if receiver and not about else ()

        def look(connection: Connection) -> list[Delivery]:
            found: list[Delivery] = []
            for one in statuses or (None,):
                same = [] if one is None else [columns.status == one]
                found += _rows(connection, _newest([*wanted, *same], before, limit + 1), with_body=False)
            return _with_openings(connection, sorted(found, key=lambda row: -row.position)[: limit + 1])

        rows = self._database.read(look)
        following = encoded_position(rows[limit - 1].position) if len(rows) > limit else None
        return DeliveryPage(tuple(rows[:limit]), following)


class Outbox(Deliveries):
    """Marks notices with their fates; `IncidentWriter` puts them in. One sender at a time, which knows what it took.

    Order: a notice is due only when every earlier one of its incident to its receiver is due before it (see `ready`).
    Marks survive the end of the process, not always a loss of power: then a notice goes out again under its id.
    """

    def due(self, now_ns: int, receiver: str, limit: int) -> list[Delivery]:
        """Return the notices due for a receiver, the most severe incidents first, each incident's in their order."""

        def look(connection: Connection) -> list[Delivery]:
            found = [_delivery(row, with_body=True) for row in ready_rows(connection, now_ns, receiver, limit)]
            kept = kept_texts(connection, receiver, {one.notice.subject for one in found}) if found else {}
            return [replace(one, kept=kept.get(one.notice.subject, "")) for one in found]

        return self._database.read(look)

    def sent(self, id_: str, status: int, at_ns: int) -> None:
        """Note that the receiver accepted it, with this HTTP status."""
        self._mark(id_, status="sent", last_status=status, last_error=None, settled_ns=at_ns)

    def failed(self, id_: str, error: str, retry_at_ns: int, status: int | None = None) -> None:
        """Note a failed attempt; the next is due at `retry_at_ns`, and later notices of the incident wait for it.

        `error` must hold no secret: it is stored and shown.
        """

        def mark(connection: Connection) -> None:
            found = _one(connection, id_)
            tried = {"attempts": columns.attempts + 1, "last_status": status, "last_error": _error_text(error)}
            own = columns.position == found.position
            connection.execute(update(outbox).where(own, WAITING).values(next_ns=retry_at_ns, **tried))
            later = (
                WAITING,
                columns.receiver == found.notice.receiver,
                columns.subject == found.notice.subject,
                columns.position > found.position,
                columns.next_ns < retry_at_ns,
            )
            connection.execute(update(outbox).where(*later).values(next_ns=retry_at_ns))

        self._database.write(mark)

    def dead(self, id_: str, error: str, at_ns: int, status: int | None = None) -> None:
        """Make a notice a dead letter, and those merged into it; the incident's later notices continue."""
        fate = {"status": "dead", "last_error": _error_text(error), "settled_ns": at_ns}

        def mark(connection: Connection) -> None:
            tried = {"attempts": columns.attempts + 1, "last_status": status}
            connection.execute(update(outbox).where(columns.id == id_, WAITING).values(**fate, **tried))
            connection.execute(update(outbox).where(columns.merged_into == id_, WAITING).values(**fate))

        self._database.write(mark)

    def give_up(self, receivers: Collection[str], error: str, at_ns: int) -> int:
        """Make dead letters of all that wait for these receivers, a portion in a transaction; how many.

        Tries are not counted: none was made. `resend` works as for any other dead letter.
        """
        fresh = {"status": "dead", "last_error": _error_text(error), "settled_ns": at_ns}
        some = select(columns.position).where(WAITING, columns.receiver.in_(sorted(receivers))).limit(PORTION)
        statement = update(outbox).where(columns.position.in_(some)).values(**fresh)
        total = 0
        while gone := self._database.write(lambda connection: connection.execute(statement).rowcount):
            total += gone
        return total

    def resend(self, id_: str, now_ns: int) -> Delivery:
        """Send it (again) under its id, from the first attempt on. UnknownDeliveryError: no such id.

        One that merged into another goes by itself.
        """

        def again(connection: Connection) -> Delivery:
            _one(connection, id_)
            fresh = {"status": "waiting", "attempts": 0, "next_ns": now_ns, "settled_ns": None, "merged_into": None}
            connection.execute(update(outbox).where(columns.id == id_).values(**fresh))
            return _one(connection, id_)

        return self._database.write(again)

    def _mark(self, id_: str, **values: object) -> None:
        statement = update(outbox).where(columns.id == id_, WAITING).values(attempts=columns.attempts + 1, **values)
        self._database.write(lambda connection: connection.execute(statement))


def _newest(wanted: Sequence[ColumnElement[bool]], before: int | None, limit: int) -> Select[Any]:
    shown = [column for column in columns if column.name != "body"]
    statement = select(*shown).where(*wanted)
    if before is not None:
        statement = statement.where(columns.position < before)
    return statement.order_by(columns.position.desc()).limit(limit)


def _one(connection: Connection, id_: str) -> Delivery:
    found = _rows(connection, select(outbox).where(columns.id == stored_text(id_)))
    if not found:
        raise UnknownDeliveryError(f"no delivery {id_!r}")
    return _with_openings(connection, found)[0]


def _with_openings(connection: Connection, found: Sequence[Delivery]) -> list[Delivery]:
    """Return the same deliveries, each with the event time at which its incident was opened."""
    wanted = {one.notice.incident_id for one in found}
    statement = select(incidents.c.id, incidents.c.opened_ns).where(incidents.c.id.in_(wanted))
    opened: dict[str, int] = {row.id: row.opened_ns for row in connection.execute(statement)}
    return [replace(one, incident_opened_ns=opened.get(one.notice.incident_id)) for one in found]


def _rows(connection: Connection, statement: Select[Any], *, with_body: bool = True) -> list[Delivery]:
    return [_delivery(row, with_body=with_body) for row in connection.execute(statement)]


def _delivery(row: Row[Any], *, with_body: bool) -> Delivery:  # Any: SQLAlchemy's type for a row of any columns
    body = json.loads(row.body) if with_body else {}
    incident = row.incident_id or ""
    case = "" if incident else row.subject
    severity = cast("Severity", row.severity)
    notice = Notice(row.id, row.receiver, incident, row.type, severity, row.created_ns, body, case)
    return Delivery(
        notice=notice,
        position=row.position,
        status=cast("Status", row.status),
        attempts=row.attempts,
        next_ns=row.next_ns,
        settled_ns=row.settled_ns,
        last_status=row.last_status,
        last_error=row.last_error,
        merged_into=row.merged_into,
    )


def _error_text(error: str) -> str:
    return stored_text(error[:ERROR_LIMIT])
