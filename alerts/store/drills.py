"""Drills as they are asked for and answered through the database: the command writes, the running service takes."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import Connection, Row, delete, select, update

from alerts.incident import IncidentState
from alerts.incident_table import IncidentError
from alerts.store.actions import WHO_LIMIT
from alerts.store.audit import record_audit
from alerts.store.database import Database, stored_text
from alerts.store.schema import cases, drills
from watchdog.core.finding import Severity

KEPT = 1_000  # rows, the latest
ERROR_LIMIT = 300  # characters


@dataclass(frozen=True, slots=True)
class Drill:
    """One drill. Times are wall clock, ns.

    node: empty until the service chose it. until_ns: it ends by then. begun_ns: when the service took it. case_id: once
    the case has opened, else empty. over: whether it was asked to end. error: why it was not made.
    """

    id: str
    node: str
    severity: Severity
    who: str
    asked_ns: int
    until_ns: int
    begun_ns: int | None = None
    case_id: str = ""
    over: bool = False
    ended_ns: int | None = None
    error: str = ""


class Drills:
    """The drills of one database. Its methods block."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def ask(self, node: str, severity: Severity, who: str, now_ns: int, until_ns: int) -> str:
        """Store a drill and an entry of the audit; return its id. IncidentError: one is under way, or no name."""
        who = who.strip()
        if not who or len(who) > WHO_LIMIT:
            raise IncidentError(f"who asks for it? a name of 1 to {WHO_LIMIT} characters is needed")
        id_ = secrets.token_hex(8)
        row = {"node": stored_text(node), "severity": severity, "who": stored_text(who)}

        def store(connection: Connection) -> None:
            open_ = select(drills.c.id).where(drills.c.ended_ns.is_(None), drills.c.until_ns > now_ns)
            other = connection.execute(open_.limit(1)).scalar()
            if other is not None:
                raise IncidentError(f"drill {other} is under way; wait until it has ended")
            values = {**row, "id": id_, "asked_ns": now_ns, "until_ns": until_ns, "over": False, "error": ""}
            connection.execute(drills.insert().values(**values))
            latest = select(drills.c.id).order_by(drills.c.asked_ns.desc()).limit(KEPT)
            connection.execute(delete(drills).where(drills.c.id.not_in(latest)))
            detail = {**({"node": node} if node else {}), "severity": severity}
            record_audit(connection, "drill", who, f"drill {id_}", at_ns=now_ns, detail=detail)

        self._database.write(store, durable=True)
        return id_

    def one(self, id_: str) -> Drill | None:
        """Return a drill by its id."""
        found = self._read(id_)
        return found[0] if found else None

    def unfinished(self) -> list[Drill]:
        """Return those that have not ended, the oldest first."""
        return self._read(None)

    def begin(self, id_: str, node: str, now_ns: int) -> None:
        """Note that the service has taken it."""
        self._change(id_, node=stored_text(node), begun_ns=now_ns)

    def opened(self, id_: str, case_id: str) -> None:
        """Note its case."""
        self._change(id_, case_id=case_id)

    def stop(self, id_: str) -> None:
        """Ask the service to end it."""
        self._change(id_, over=True)

    def finish(self, id_: str, now_ns: int, error: str = "") -> None:
        """Note that it has ended."""
        self._change(id_, ended_ns=now_ns, error=stored_text(error[:ERROR_LIMIT]))

    def is_resolved(self, case_id: str) -> bool:
        """Return whether the history has the end of a case."""
        state = select(cases.c.state).where(cases.c.id == case_id)
        found = self._database.read(lambda one: one.execute(state).scalar())
        return found == IncidentState.RESOLVED.value

    def _read(self, id_: str | None) -> list[Drill]:
        wanted = select(drills).order_by(drills.c.asked_ns, drills.c.id)
        wanted = wanted.where(drills.c.ended_ns.is_(None) if id_ is None else drills.c.id == id_)
        return self._database.read(lambda one: [_drill(row) for row in one.execute(wanted)])

    def _change(self, id_: str, **values: object) -> None:
        statement = update(drills).where(drills.c.id == id_, drills.c.ended_ns.is_(None)).values(**values)
        self._database.write(lambda connection: connection.execute(statement), durable=True)


def _drill(row: Row[Any]) -> Drill:  # Any: columns
    severity = cast("Severity", row.severity)
    made = (row.id, row.node, severity, row.who, row.asked_ns, row.until_ns, row.begun_ns)
    return Drill(*made, row.case_id or "", bool(row.over), row.ended_ns, row.error)
