"""The audit: who changed what, in the order in which it was stored. Rows are added, never changed or removed.

The database refuses UPDATE and DELETE by a trigger. The watchdog removes nothing from it either; it holds
`MOST_ENTRIES` (some 200 MB, by people decades of work). Beyond, operators' changes are refused, so that none is made
unseen: docs/CASES.md says how to move a full audit away. What the service itself adds (start, reload) is lost then,
with a line in its log.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, func, select

from alerts.incident_table import IncidentError
from alerts.store.cursor import decoded_position, encoded_position
from alerts.store.database import Database, stored_json, stored_text
from alerts.store.schema import audit

AuditAction = Literal["ack", "resolve", "note", "split", "silence", "override", "reload", "start", "drill"]
AUDIT_ACTIONS: tuple[AuditAction, ...] = (
    "ack", "resolve", "note", "split", "silence", "override", "reload", "start", "drill",
)  # fmt: skip
MOST_ENTRIES = 1_000_000
MOST_ROWS = 1_000  # of one page
SUBJECT_LIMIT, DETAIL_LIMIT = 200, 4_000  # characters
SERVICE = "watchdog"  # `who` of what no operator did


class AuditFullError(IncidentError):
    """The audit holds as much as it may, so nothing that it must show can be done."""


@dataclass(frozen=True, slots=True)
class AuditPage:
    """rows: the latest first. cursor: where the next page starts, None at the end."""

    rows: tuple[dict[str, object], ...]
    cursor: str | None


def record_audit(
    connection: Connection, action: AuditAction, who: str, subject: str, *, at_ns: int, detail: Mapping[str, object]
) -> None:
    """Add an entry within the transaction of what it reports: both are stored or neither.

    subject: what was changed, such as `case 0123456789abcdef`. detail: JSON-able; beyond `DETAIL_LIMIT` only its names
    are kept. AuditFullError: there is no room.
    """
    if (connection.execute(select(func.max(audit.c.id))).scalar() or 0) >= MOST_ENTRIES:
        raise AuditFullError(f"the audit is full ({MOST_ENTRIES} entries), so nothing can be changed; see CASES.md")
    text = stored_json(dict(detail))
    if len(text) > DETAIL_LIMIT:
        text = stored_json({"left_out": sorted(detail)[:20]})
    row = {"at_ns": at_ns, "who": stored_text(who), "action": action, "subject": stored_text(subject)[:SUBJECT_LIMIT]}
    connection.execute(audit.insert().values(**row, detail=text))


class Audit:
    """The audit of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, action: AuditAction, who: str, subject: str, *, at_ns: int, detail: Mapping[str, object]) -> None:
        """Add an entry of its own. AuditFullError, StoreUnavailableError."""
        self._database.write(
            lambda one: record_audit(one, action, who, subject, at_ns=at_ns, detail=detail), durable=True
        )

    def page(self, limit: int = 50, cursor: str | None = None) -> AuditPage:
        """Return entries, the latest first; at most `MOST_ROWS`. CursorError: the cursor is invalid."""
        limit = min(max(limit, 1), MOST_ROWS)
        wanted = select(audit).order_by(audit.c.id.desc()).limit(limit + 1)
        if cursor is not None:
            wanted = wanted.where(audit.c.id < decoded_position(cursor))
        found = self._database.read(lambda one: one.execute(wanted).all())
        following = encoded_position(found[limit - 1].id) if len(found) > limit else None
        return AuditPage(tuple(_entry(row) for row in found[:limit]), following)

    def latest(self, action: AuditAction) -> dict[str, object] | None:
        """Return the latest entry of an action; None without any."""
        wanted = select(audit).where(audit.c.action == action).order_by(audit.c.id.desc()).limit(1)
        found = self._database.read(lambda one: one.execute(wanted).first())
        return None if found is None else _entry(found)

    def entries(self) -> int:
        """Return the number of entries."""
        return self._database.read(lambda one: one.execute(select(func.max(audit.c.id))).scalar()) or 0


def _entry(row: Any) -> dict[str, object]:  # Any: a row of whatever columns the table has
    return {
        "id": row.id,
        "time": row.at_ns / 1e9,
        "who": row.who,
        "action": row.action,
        "subject": row.subject,
        "detail": json.loads(row.detail),
    }
