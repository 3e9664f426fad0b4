"""Reading the history: pages of incidents, and one incident with everything about it.

A page costs the same in a history of ten thousand and of a million incidents, whatever the filter: states, severities
and attacks are few, so the classes that a filter allows are walked one by one in an index that is ordered by time
within each class, and merged.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Row, TextClause, bindparam, select, text

from alerts.incident import IncidentState
from alerts.store.actions import Actions, Done, Verb
from alerts.store.cursor import decoded_place, encoded_place
from alerts.store.database import LATEST_NS, Database, stored_text
from alerts.store.outbox import Outbox
from alerts.store.recordings import Recordings
from alerts.store.schema import incident_pictures, incidents
from alerts.store.verdicts import OperatorVerdict, latest_verdict
from watchdog.core.finding import ATTACKS, SEVERITIES, Attack, Severity

MOST_ROWS = 1_000
MOST_DELIVERIES = 200
RULES_MOST = 2_000  # counts by node, rule and severity: beyond them, the smallest are left out
IN_ORDER = "ORDER BY opened_ns DESC, id DESC LIMIT :most"
STATES = tuple(state.value for state in IncidentState)

_listed = tuple(
    column for column in incidents.c if column.name not in ("fingerprint", "sequence", "acted", "cleared_ns")
)


@dataclass(frozen=True, slots=True)
class IncidentFilter:
    """Which incidents a page shows; an empty choice allows all. since_ns: opened at or after it."""

    states: tuple[IncidentState, ...] = ()
    severities: tuple[Severity, ...] = ()
    attacks: tuple[Attack, ...] = ()
    node: str | None = None
    since_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """rows: incident objects as in `one`, without evidence, members, changes and further entities, latest opened first.

    cursor: where the next page starts, None at the end.
    """

    rows: tuple[dict[str, object], ...]
    cursor: str | None


class IncidentQueries:
    """Incidents of one database, for any thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._actions, self._outbox = Actions(database), Outbox(database)
        self._recordings = Recordings(database)

    def page(self, wanted: IncidentFilter, limit: int = 50, cursor: str | None = None) -> Page:
        """Return incidents by opening time, latest first; at most `MOST_ROWS`. CursorError: the cursor is invalid."""
        limit = min(max(limit, 1), MOST_ROWS)
        place = None if cursor is None else decoded_place(cursor)
        statement = _places(wanted.states, wanted.severities, wanted.attacks, _shape(wanted, place))
        values: dict[str, object] = {"most": limit + 1}
        if wanted.node is not None:
            values["node"] = stored_text(wanted.node)
        if wanted.since_ns is not None:
            values["since"] = max(min(wanted.since_ns, LATEST_NS), -LATEST_NS)
        if place is not None:
            values |= {"opened": place[0], "id": place[1]}

        def look(connection: Connection) -> Page:
            places = connection.execute(statement, values).all()
            ids = [row.id for row in places[:limit]]
            found = connection.execute(select(*_listed).where(incidents.c.id.in_(ids)))
            rows = {row.id: _row_object(row) for row in found}
            last = places[limit - 1] if len(places) > limit else None
            following = None if last is None else encoded_place(last.opened_ns, last.id)
            return Page(tuple(rows[id_] for id_ in ids if id_ in rows), following)  # retention may be at work

        return self._database.read(look)

    def one(self, id_: str) -> dict[str, object] | None:
        """Return the incident object of `alerts.render.as_object`, and with it `verdict`, `notes`, `actions`,
        `deliveries`, `recordings`.

        verdict: the latest one of an operator. actions: what operators did, notes among them. deliveries: the latest
        `MOST_DELIVERIES`. recordings: the recorded files of its time. None when there is no such incident.
        """
        id_ = stored_text(id_)
        wanted = select(incident_pictures).where(incident_pictures.c.incident_id == id_)
        row = self._database.read(lambda connection: connection.execute(wanted).first())
        if row is None:
            return None
        done = [action.as_object() for action in self._actions.of(id_)]
        sent = self._outbox.page(incident=id_, limit=MOST_DELIVERIES).rows
        return {
            "watched": None,  # older versions stored incidents without these two
            "maturity": None,
            **json.loads(row.picture),
            "evidence": json.loads(row.evidence),
            "verdict": latest_verdict(done),
            "notes": [action for action in done if action["action"] == "note"],
            "actions": done,
            "deliveries": [delivery.as_object() for delivery in sent],
            "recordings": [one.as_object() for one in self._recordings.of(id_)],
        }

    def rule_of(self, id_: str) -> str:
        """Return the rule of an incident; empty for an unknown one."""
        wanted = select(incidents.c.rule).where(incidents.c.id == stored_text(id_))
        return self._database.read(lambda connection: connection.execute(wanted).scalar()) or ""

    def completed(self, beginning: str) -> list[str]:
        """Return at most two ids that begin with these digits, so that people need not type all sixteen."""
        known, beginning = incidents.c.id, stored_text(beginning)
        wanted = select(known).where(known >= beginning, known < f"{beginning}g").order_by(known).limit(2)
        return self._database.read(lambda connection: list(connection.execute(wanted).scalars()))

    def act(
        self, id_: str, action: Verb, who: str, text: str, at_ns: int, *, verdict: OperatorVerdict | None = None
    ) -> Done:
        """Store an operator's action. IncidentError when it cannot be done, see `Actions.act`."""
        return self._actions.act(id_, action, who, text, at_ns, verdict=verdict)

    def counts(self) -> dict[tuple[str, str], int]:
        """Return how many incidents are not resolved, by (state, severity)."""
        statement = text(
            "SELECT state, severity, count(*) AS many FROM incidents WHERE state IN ('open', 'acknowledged') "
            "GROUP BY state, severity"
        )
        rows = self._database.read(lambda connection: connection.execute(statement).all())
        return {(row.state, row.severity): row.many for row in rows}

    def open_by_rule(self) -> dict[tuple[str, str, str], int]:
        """Return how many incidents are not resolved, by (node, rule, severity), the `RULES_MOST` largest counts."""
        statement = text(
            "SELECT node, rule, severity, count(*) AS many FROM incidents WHERE state IN ('open', 'acknowledged') "
            "GROUP BY node, rule, severity ORDER BY many DESC, node, rule, severity LIMIT :most"
        )
        rows = self._database.read(lambda connection: connection.execute(statement, {"most": RULES_MOST}).all())
        return {(row.node, row.rule, row.severity): row.many for row in rows}


def _shape(wanted: IncidentFilter, place: tuple[int, str] | None) -> tuple[bool, bool, bool]:
    return wanted.node is not None, wanted.since_ns is not None, place is not None


@lru_cache(maxsize=64)
def _places(
    states: Sequence[str], severities: Sequence[str], attacks: Sequence[str], shape: tuple[bool, bool, bool]
) -> TextClause:
    """Return the SQL for the ids of a page, in order. Its names come from constant lists, never from a caller."""
    by_node, since, behind = shape
    conditions = ["opened_ns >= :since"] * since + ["(opened_ns, id) < (:opened, :id)"] * behind
    if not (states or severities or attacks or by_node):
        return _ordered(_walk(conditions))
    conditions = ["node = :node"] * by_node + conditions
    classes = itertools.product(_allowed(states, STATES), _allowed(severities, SEVERITIES), _allowed(attacks, ATTACKS))
    parts = []
    for state, severity, attack in classes:
        own = [f"state = '{state}'", f"severity = '{severity}'", f"attack = '{attack}'"]
        parts.append(f"SELECT * FROM ({_walk(own + conditions)} {IN_ORDER}) AS walk")  # noqa: S608 (our own lists)
    if not parts:
        return _ordered(_walk(["1 = 0"]))
    return _ordered(f"SELECT opened_ns, id FROM ({' UNION ALL '.join(parts)}) AS walks")  # noqa: S608


def _ordered(statement: str) -> TextClause:
    return text(f"{statement} {IN_ORDER}").bindparams(bindparam("most"))


def _walk(conditions: Sequence[str]) -> str:
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return f"SELECT opened_ns, id FROM incidents{where}"  # noqa: S608 (fixed conditions, values are bound)


def _allowed(chosen: Sequence[str], known: Sequence[str]) -> list[str]:
    """Return the chosen ones that exist, all when none is chosen."""
    return [one for one in known if not chosen or one in chosen]


def _row_object(row: Row[Any]) -> dict[str, object]:
    """Return a row of the list as an incident object."""
    return {
        "id": row.id,
        "rule": row.rule,
        "attack": row.attack,
        "severity": row.severity,
        "state": row.state,
        "node": row.node,
        "opened": row.opened_ns / 1e9,
        "updated": row.updated_ns / 1e9,
        "resolved": None if row.resolved_ns is None else row.resolved_ns / 1e9,
        "summary": row.summary,
        "findings": row.findings,
        "completeness": row.completeness,
        "watched": row.watched,
        "title": row.title,
        "maturity": row.maturity,
        "acknowledged_by": row.acknowledged_by,
        "members": {"count": row.members, "firing": row.firing},
        **json.loads(row.shown),
    }
