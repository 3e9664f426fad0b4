"""When people last heard of each case, by the wall clock: a row for each root, changed with the notices themselves."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, cast

import msgspec
from sqlalchemy import Connection, Row, Select, delete, select, update

from alerts.case.change import DRILL, CaseChange
from alerts.escalation import ACKNOWLEDGED, OPEN, CaseClock, CaseNow, joined, noted
from alerts.store.case_decisions import MadeDecision
from alerts.store.cases import case_now
from alerts.store.database import Database
from alerts.store.schema import case_clocks, cases
from watchdog.core.finding import Severity

MOST_STANDING = 5_000  # clocks that are looked at; an installation has a few dozen open cases


@dataclass(frozen=True, slots=True)
class OpenCase:
    """An unresolved case with its clock."""

    root: str
    case_id: str
    node: str
    clock: CaseClock
    now: CaseNow


def note_changes(database: Database, connection: Connection, made: Sequence[MadeDecision]) -> None:
    """Note changes of cases in their clocks, in the transaction that stores the changes, after their cases."""
    changes = {(one.change.root, one.change.number): one for one in made}
    for (root, _), one in sorted(changes.items()):
        merged = _take_merged(connection, one.change)
        before = _clock(connection, root)
        after = noted(before, one.change, one.decided_ns, drill=bool(one.change.document.get(DRILL)))
        after = joined(after, merged, one.change)
        if after is not None and after != before:
            _store(database, connection, root, one.change.case_id, after)


def standing(connection: Connection) -> list[OpenCase]:
    """Return the unresolved cases that have a clock, one clock for each: that of the root that is known the longest.

    Two cases that became one have two until the notice of it.
    """
    found: dict[str, OpenCase] = {}
    for row in connection.execute(_standing().limit(MOST_STANDING)):
        one = _as_standing(row)
        known = found.get(one.case_id)
        if known is None or _age(one) < _age(known):
            found[one.case_id] = one
    return list(found.values())


def standing_now(connection: Connection, one: OpenCase) -> tuple[OpenCase, str] | None:
    """Return a case as it is at this moment, locked, with its document; None when it is over or another one now."""
    locked = select(cases.c.document).where(cases.c.id == one.case_id).with_for_update()
    document = connection.execute(locked).scalar()
    row = connection.execute(_standing().where(case_clocks.c.root == one.root)).first()
    if document is None or row is None or row.id != one.case_id:
        return None
    return _as_standing(row), document


def keep_clock(connection: Connection, root: str, clock: CaseClock) -> None:
    """Replace a clock within a transaction."""
    connection.execute(update(case_clocks).where(case_clocks.c.root == root).values(clock=_text(clock)))


def escalated_to(connection: Connection, roots: Collection[str]) -> dict[str, frozenset[str]]:
    """Return the receivers that were called to cases and must hear their end, by root; roots without any left out."""
    wanted = select(case_clocks.c.root, case_clocks.c.clock).where(case_clocks.c.root.in_(sorted(roots)))
    found = {row.root: _read(row.clock).owed for row in connection.execute(wanted)}
    return {root: names for root, names in found.items() if names}


def change_clocks(connection: Connection, changed: Callable[[CaseClock], CaseClock]) -> int:
    """Change the clocks of unresolved cases within a transaction; return how many differ."""
    count = 0
    for row in sorted(connection.execute(_standing()), key=lambda row: str(row.root)):  # as the writer locks them
        before = _read(row.clock)
        after = changed(before)
        if after != before:
            keep_clock(connection, row.root, after)
            count += 1
    return count


def _standing() -> Select[Any]:  # Any: columns
    columns = (case_clocks.c.root, case_clocks.c.clock, cases.c.id, cases.c.node)
    about = (cases.c.state, cases.c.severity, cases.c.firing)
    wanted = select(*columns, *about).join(cases, cases.c.id == case_clocks.c.case_id)
    # Not `!= resolved`: the planner would look at the clocks of all cases that were ever reported.
    return wanted.where(cases.c.state.in_((OPEN, ACKNOWLEDGED))).order_by(cases.c.opened_ns, case_clocks.c.root)


def _as_standing(row: Row[Any]) -> OpenCase:
    now = CaseNow(row.state, cast("Severity", row.severity), bool(row.firing))
    return OpenCase(row.root, row.id, row.node, _read(row.clock), now)


def _age(one: OpenCase) -> tuple[int, str]:
    return min(one.clock.since.values(), default=one.clock.heard_ns), one.root


def _take_merged(connection: Connection, change: CaseChange) -> list[CaseClock]:
    """Remove the clocks of roots that end with this change, and return them: the root that remains counts."""
    gone = case_clocks.c.root.in_(change.merged)
    if not change.merged:
        return []
    texts = connection.execute(select(case_clocks.c.clock).where(gone).with_for_update()).scalars().all()
    connection.execute(delete(case_clocks).where(gone))
    return [_read(text) for text in texts]


def _clock(connection: Connection, root: str) -> CaseClock | None:
    wanted = select(case_clocks.c.clock).where(case_clocks.c.root == root).with_for_update()
    found = connection.execute(wanted).scalar()
    return None if found is None else _read(found)


def _store(database: Database, connection: Connection, root: str, case: str, clock: CaseClock) -> None:
    now = case_now(connection, {root, case})
    current = now.get(case) or now.get(root)
    if current is None:
        return
    statement = database.insert(case_clocks)
    fresh = {name: statement.excluded[name] for name in ("case_id", "clock")}
    row = {"root": root, "case_id": current, "clock": _text(clock)}
    connection.execute(statement.on_conflict_do_update(index_elements=["root"], set_=fresh), [row])


def _text(clock: CaseClock) -> str:
    return msgspec.json.encode(clock).decode("utf-8")


def _read(text: str) -> CaseClock:
    """Read a clock. One in another version's form restarts: a late reminder is better than a second one."""
    try:
        return msgspec.json.decode(text, type=CaseClock)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return CaseClock()
