"""Cases in the history: one row each, with the whole case as a document, and the ids of those that were merged."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    delete,
    exists,
    func,
    literal,
    or_,
    select,
    tuple_,
    union_all,
    update,
)

from alerts.case.document import INNER, StoredCase
from alerts.case.house import HOUSE
from alerts.incident import IncidentState
from alerts.store.case_acts import move_acts, waiting_acts, with_acts
from alerts.store.cursor import decoded_place, encoded_place
from alerts.store.database import LATEST_NS, Database, stored_json, stored_text
from alerts.store.schema import case_aliases, case_clocks, case_decisions, cases, incidents, outbox
from watchdog.core.durations import MINUTE_NS
from watchdog.core.finding import SEVERITIES, Severity

MOST_CASES = 1_000  # of one page
MOST_OF_INCIDENT = 20  # cases that are named beside one incident
PORTION = 500  # ids in one statement
AHEAD_NS = 10 * MINUTE_NS  # of our clock, by which event time may be ahead


def store_cases(database: Database, connection: Connection, rows: Sequence[StoredCase]) -> list[StoredCase]:
    """Store cases within a transaction. A row replaces an older one of its case; the rows of merged cases go.

    Return the cases as the history shows them: with acts of operators that their book has yet to apply.
    """
    rows = list({one.id: one for one in rows}.values())  # the latest of each: one statement takes a row once
    if not rows:
        return []
    _upsert(database, connection, rows)
    gone = {alias for one in rows for alias in one.aliases}
    _alias(database, connection, {alias: one.id for one in rows if one.id not in gone for alias in one.aliases})
    present = [one for one in rows if one.id not in gone]
    behind = waiting_acts(connection, present)
    shown = [with_acts(one, behind[one.id]) if one.id in behind else one for one in present]
    _upsert(database, connection, [one for one in shown if one.id in behind])
    return shown


def _upsert(database: Database, connection: Connection, rows: Sequence[StoredCase]) -> None:
    """Store rows, except where a later one is stored.

    What is stored as later than our own clock came before a clock that was ahead was set right: it is not later.
    """
    if not rows:
        return
    statement = database.insert(cases)
    fresh = {column.name: statement.excluded[column.name] for column in cases.c if column.name != "id"}
    from_ahead = cases.c.updated_ns > time.time_ns() + AHEAD_NS
    newer = or_(statement.excluded.updated_ns >= cases.c.updated_ns, from_ahead)
    connection.execute(
        statement.on_conflict_do_update(index_elements=["id"], set_=fresh, where=newer), [_row(one) for one in rows]
    )


def _alias(database: Database, connection: Connection, survivors: Mapping[str, str]) -> None:
    """Let the ids of merged cases lead to the survivors, with what operators did, and remove their rows."""
    if not survivors:
        return
    link = database.insert(case_aliases)
    known = {"case_id": link.excluded.case_id}
    aliases = [{"alias": alias, "case_id": id_} for alias, id_ in survivors.items()]
    connection.execute(link.on_conflict_do_update(index_elements=["alias"], set_=known), aliases)
    move_acts(connection, survivors)
    _follow_merges(connection, aliases)
    names = sorted(survivors)
    for start in range(0, len(names), PORTION):
        connection.execute(delete(cases).where(cases.c.id.in_(names[start : start + PORTION])))


def _follow_merges(connection: Connection, aliases: Sequence[Mapping[str, str]]) -> None:
    """Give the notices and decisions of merged cases to those that they are part of now."""
    merged: dict[str, list[str]] = {}
    for one in aliases:
        merged.setdefault(one["case_id"], []).append(one["alias"])
    for case, names in merged.items():
        for start in range(0, len(names), PORTION):
            portion = names[start : start + PORTION]
            for table in (outbox, case_decisions, case_clocks):
                connection.execute(update(table).where(table.c.case_id.in_(portion)).values(case_id=case))


def case_now(connection: Connection, ids: Collection[str]) -> dict[str, str]:
    """Return the stored case that each id means now: itself, or what it merged into. Unknown ids are left out."""
    names, found = sorted(ids), dict[str, str]()
    for start in range(0, len(names), PORTION):
        portion = names[start : start + PORTION]
        by_alias = select(case_aliases.c.alias, case_aliases.c.case_id).where(case_aliases.c.alias.in_(portion))
        found |= {row.alias: row.case_id for row in connection.execute(by_alias)}
        own = connection.execute(select(cases.c.id).where(cases.c.id.in_(portion))).scalars()
        found |= {id_: id_ for id_ in own}
    return found


def cases_holding(connection: Connection, incident: str) -> Iterator[dict[str, Any]]:
    """Yield the documents of the cases that an incident is part of, latest opened first; none for an unknown id.

    An incident of several peers can be part of several cases. Cases that were resolved before it opened are not read.
    """
    known = select(incidents.c.node, incidents.c.opened_ns).where(incidents.c.id == stored_text(incident))
    row = connection.execute(known).first()
    if row is None:
        return
    in_time = or_(cases.c.resolved_ns.is_(None), cases.c.resolved_ns >= row.opened_ns - AHEAD_NS)
    asked = select(cases.c.document).where(cases.c.node.in_([row.node, HOUSE]), in_time)
    asked = asked.where(cases.c.document.contains(json.dumps(incident), autoescape=True))
    for document in connection.execute(asked.order_by(cases.c.opened_ns.desc(), cases.c.id)).scalars():
        case = json.loads(document)
        if incident in case["incidents"]:
            yield case


def remove_cases(connection: Connection, before_ns: int, most: int) -> int:
    """Remove some cases that were resolved before an event time, within a transaction; return how many went.

    Not while a notice of them waits. The decisions on them go with them, a thousand for each at most.
    """
    waits = exists().where(outbox.c.case_id == cases.c.id, outbox.c.status == literal("waiting", literal_execute=True))
    resolved = cases.c.state == IncidentState.RESOLVED.value
    old = select(cases.c.id).where(resolved, cases.c.resolved_ns < before_ns, ~waits).order_by(cases.c.resolved_ns)
    ids = list(connection.execute(old.limit(most)).scalars())
    if ids:
        connection.execute(delete(cases).where(cases.c.id.in_(ids)))
    return len(ids)


def _row(case: StoredCase) -> dict[str, object]:
    return {
        "id": case.id,
        "node": stored_text(case.node),
        "opened_ns": min(case.opened_ns, LATEST_NS),
        "updated_ns": min(case.updated_ns, LATEST_NS),
        "resolved_ns": None if case.resolved_ns is None else min(case.resolved_ns, LATEST_NS),
        "state": case.state,
        "severity": case.severity,
        "firing": case.firing,
        "document": stored_json(case.document),
    }


@dataclass(frozen=True, slots=True)
class CaseFilter:
    """Which cases a page shows; an empty choice allows all. since_ns: opened at or after it."""

    states: tuple[IncidentState, ...] = ()
    severities: tuple[Severity, ...] = ()
    node: str | None = None
    since_ns: int | None = None


@dataclass(frozen=True, slots=True)
class CasePage:
    """rows: cases as `outer` gives them, latest opened first. cursor: where the next page starts, None at the end."""

    rows: tuple[dict[str, Any], ...]
    cursor: str | None


def outer(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a case as `watchdog replay --cases` prints it, of a document."""
    return {name: value for name, value in document.items() if name not in INNER and name != "advice"}


def _places(wanted: CaseFilter, limit: int, after: tuple[int, str] | None) -> Select[Any]:  # Any: columns
    """Return opening time and id of the cases of a page, the latest first.

    States and severities are few: each class is walked by itself, in an index that is ordered by time within it. So a
    page costs the same however many cases there are, and whatever is rare among them.
    """
    place, order = (cases.c.opened_ns, cases.c.id), (cases.c.opened_ns.desc(), cases.c.id.desc())
    shared: list[ColumnElement[bool]] = []
    if wanted.node is not None:
        shared.append(cases.c.node == stored_text(wanted.node))
    if wanted.since_ns is not None:
        shared.append(cases.c.opened_ns >= max(min(wanted.since_ns, LATEST_NS), -LATEST_NS))
    if after is not None:
        shared.append(tuple_(*place) < tuple_(*after))
    if not (wanted.states or wanted.severities or wanted.node is not None):
        return select(*place).where(*shared).order_by(*order).limit(limit)
    states = [one.value for one in wanted.states or tuple(IncidentState)]
    walks = [
        select(*place)
        .where(cases.c.state == state, cases.c.severity == severity, *shared)
        .order_by(*order)
        .limit(limit)
        for state in states
        for severity in wanted.severities or SEVERITIES
    ]
    walked = union_all(*(select(walk.subquery()) for walk in walks)).subquery()
    return select(walked).order_by(walked.c.opened_ns.desc(), walked.c.id.desc()).limit(limit)


class CaseQueries:
    """Reading cases."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def page(self, wanted: CaseFilter, limit: int = 50, cursor: str | None = None) -> CasePage:
        """Return cases by opening time, latest first; at most `MOST_CASES`. CursorError: the cursor is invalid."""
        limit = min(max(limit, 1), MOST_CASES)
        asked = _places(wanted, limit + 1, None if cursor is None else decoded_place(cursor))

        def look(connection: Connection) -> CasePage:
            places = connection.execute(asked).all()
            ids = [place.id for place in places[:limit]]
            found = dict[str, dict[str, Any]]()
            for start in range(0, len(ids), PORTION):
                own = select(cases.c.id, cases.c.document).where(cases.c.id.in_(ids[start : start + PORTION]))
                for row in connection.execute(own):  # one at a time: the claims of a case are large
                    found[row.id] = outer(json.loads(row.document))
            last = places[limit - 1] if len(places) > limit else None
            following = None if last is None else encoded_place(last.opened_ns, last.id)
            return CasePage(tuple(found[id_] for id_ in ids if id_ in found), following)  # retention may be at work

        return self._database.read(look)

    def one(self, id_: str) -> dict[str, Any] | None:
        """Return the document of the case with this id, or into which the case with this id was merged; or None."""
        alias = select(case_aliases.c.case_id).where(case_aliases.c.alias == stored_text(id_)).scalar_subquery()
        asked = select(cases.c.document).where(cases.c.id == func.coalesce(alias, stored_text(id_)))
        found = self._database.read(lambda connection: connection.execute(asked).scalar())
        return None if found is None else {"story": [], "story_beyond": 0, **json.loads(found)}  # as of version 0011

    def of_incident(self, incident: str) -> list[dict[str, str]]:
        """Return `id` and `headline` of the cases that an incident is part of, latest opened first.

        At most `MOST_OF_INCIDENT`; none where it is part of no case, or unknown.
        """

        def look(connection: Connection) -> list[dict[str, str]]:
            found = itertools.islice(cases_holding(connection, incident), MOST_OF_INCIDENT)
            return [{"id": one["id"], "headline": one["headline"]} for one in found]

        return self._database.read(look)

    def latest(self, most: int = MOST_CASES, node: str | None = None) -> list[dict[str, Any]]:
        """Return the documents of the cases opened last, the latest first."""
        asked = select(cases.c.document).order_by(cases.c.opened_ns.desc(), cases.c.id.desc()).limit(most)
        if node is not None:
            asked = asked.where(cases.c.node == node)
        found = self._database.read(lambda connection: connection.execute(asked).scalars().all())
        return [json.loads(document) for document in found]

    def named(self, digits: str) -> list[dict[str, Any]]:
        """Return the documents of the cases whose id, or that of a case merged into them, begins so: at most two."""
        digits = stored_text(digits)

        def begins(column: ColumnElement[str]) -> ColumnElement[bool]:
            return and_(column >= digits, column < f"{digits}g")  # not LIKE, for which no index is used

        by_alias = select(case_aliases.c.case_id).where(begins(case_aliases.c.alias)).limit(2)
        own = select(cases.c.id).where(begins(cases.c.id)).limit(2)

        def look(connection: Connection) -> list[str]:
            ids = [*connection.execute(own).scalars(), *connection.execute(by_alias).scalars()]
            asked = select(cases.c.document).where(cases.c.id.in_(ids)).limit(2)
            return list(connection.execute(asked).scalars()) if ids else []

        return [json.loads(document) for document in self._database.read(look)]
