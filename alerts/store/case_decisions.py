"""Stores, for each change of a case and each receiver, whether it was sent, or why it was held back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, delete, exists, select

from alerts.case.change import CaseChange
from alerts.decide import Decision
from alerts.store.cases import case_now
from alerts.store.database import LATEST_NS, Database, stored_text
from alerts.store.schema import case_decisions

KEPT = 1_000  # rows of a case, the latest
DETAIL_LIMIT = 500  # characters
SENT, HELD = "sent", "held"


@dataclass(frozen=True, slots=True)
class MadeDecision:
    """A decision on a change of a case. decided_ns: wall clock."""

    change: CaseChange
    decision: Decision
    decided_ns: int


def store_decisions(database: Database, connection: Connection, made: Sequence[MadeDecision]) -> None:
    """Store decisions within a transaction, after their cases.

    After a kill the same changes are decided again: what was decided first remains, unless it is sent only now.
    """
    if not made:
        return
    now = case_now(connection, {name for one in made for name in (one.change.case_id, one.change.root)})
    rows = [(now.get(one.change.case_id) or now.get(one.change.root), one) for one in made]
    known = [_row(case, one) for case, one in rows if case is not None]
    if not known:
        return
    columns, statement = case_decisions.c, database.insert(case_decisions)
    keys = [column.name for column in case_decisions.primary_key]
    fresh = {column.name: statement.excluded[column.name] for column in columns if column.name not in keys}
    later = and_(columns.decision == HELD, statement.excluded.decision == SENT)
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=fresh, where=later), known)
    for case in sorted({str(row["case_id"]) for row in known}):
        _drop_oldest(connection, case)


def _drop_oldest(connection: Connection, case: str) -> None:
    """Keep the latest `KEPT` decisions of a case, and of each receiver the latest that was sent.

    A receiver that was notified once, long ago, still knows the case: its alert is kept alive (`firing_cases`).
    """
    columns = case_decisions.c
    order = (columns.decided_ns.desc(), columns.number.desc())
    at_limit = select(columns.decided_ns, columns.number).where(columns.case_id == case).order_by(*order)
    last = connection.execute(at_limit.offset(KEPT).limit(1)).first()
    if last is not None:
        earlier = (columns.decided_ns < last.decided_ns) | (
            (columns.decided_ns == last.decided_ns) & (columns.number <= last.number)
        )
        later = case_decisions.alias()
        sent_again = exists().where(
            later.c.case_id == case,
            later.c.receiver == columns.receiver,
            later.c.decision == SENT,
            (later.c.decided_ns > columns.decided_ns)
            | ((later.c.decided_ns == columns.decided_ns) & (later.c.number > columns.number)),
        )
        spare = (columns.decision == HELD) | sent_again
        connection.execute(delete(case_decisions).where(columns.case_id == case, earlier, spare))


def _row(case: str, made: MadeDecision) -> dict[str, object]:
    change, one = made.change, made.decision
    return {
        "root": change.root,
        "number": change.number,
        "type": one.type,
        "receiver": stored_text(one.receiver),
        "case_id": case,
        "time_ns": min(change.time_ns, LATEST_NS),
        "decided_ns": made.decided_ns,
        "decision": HELD if one.held else SENT,
        "reason": one.held.value if one.held else "",
        "detail": stored_text(one.detail[:DETAIL_LIMIT]),
        "place": stored_text(one.place[:DETAIL_LIMIT]),
    }


def decisions_of(database: Database, case: str, receiver: str | None = None) -> list[dict[str, Any]]:  # Any: columns
    """Return the decisions on a case and those that merged into it, by event time."""
    columns = case_decisions.c
    asked = select(case_decisions).where(columns.case_id == case)
    if receiver is not None:
        asked = asked.where(columns.receiver == stored_text(receiver))
    asked = asked.order_by(columns.time_ns, columns.root, columns.number, columns.receiver, columns.decision.desc())
    found = database.read(lambda connection: connection.execute(asked).mappings().all())
    return [dict(row) for row in found]
