"""Openings of one rule as one notice, where a receiver gets them more slowly than they come.

The merged notice is a row of its own under a new id, behind all others. What merged into it keeps its row and waits:
it holds back later notices of its incident until the merged one was accepted, and says then that it was `merged`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, bindparam, exists, func, literal, or_, select, update

from alerts.delivery.ports import Outcome
from alerts.notice import MERGED
from alerts.store.database import stored_json
from alerts.store.ready import WAITING, columns
from alerts.store.schema import incidents, outbox

MERGED_MOST = 100
"""Openings in one notice: each is named in it, and Alertmanager gets no more in one request."""
NAMED_ENTITIES = 10
SUMMARY_LIMIT = 300  # characters of each incident's summary
ID_PREFIX = "mrg_"
_KEPT = ("id", "rule", "attack", "severity", "state", "node", "key", "opened", "title", "fingerprint", "url")


@dataclass(frozen=True, slots=True)
class Taker:
    """A sender to one receiver. name: of this process's sender. in_hand: ids that are under way now."""

    receiver: str
    name: str
    in_hand: Collection[str]


def take(connection: Connection, taker: str, ids: Collection[str]) -> None:
    """Note that a sender was given these openings: only itself knows from here on whether they were sent.

    After a kill another sender cannot know it. It sends them under their ids, and they merge into nothing.
    """
    untaken = (columns.id.in_(ids), columns.taken_by.is_(None))
    connection.execute(update(outbox).where(*untaken).values(taken_by=taker))


def merge_openings(connection: Connection, now_ns: int, taker: Taker, least: int) -> int:
    """Merge the openings that wait, of each rule and severity with `least` or more; how many notices merged.

    Only notices without an attempt are merged: one that was sent may have arrived, and keeps its id for ever.
    """
    opening = (*_unsent(now_ns, taker), ~_has_earlier())
    crowd = (
        select(incidents.c.rule, columns.severity)
        .join(incidents, incidents.c.id == columns.incident_id)
        .where(*opening)
        .group_by(incidents.c.rule, columns.severity)
        .having(func.count() >= least)
        .order_by(incidents.c.rule, columns.severity)
    )
    total = 0
    for rule, severity in connection.execute(crowd).all():
        same = (columns.severity == severity, incidents.c.rule == rule)
        wanted = select(outbox).join(incidents, incidents.c.id == columns.incident_id).where(*opening, *same)
        rows = [row for row in connection.execute(wanted.order_by(columns.position)) if row.id not in taker.in_hand]
        for start in range(0, len(rows), MERGED_MOST):
            total += _merge(connection, now_ns, rows[start : start + MERGED_MOST])
    return total


def settle_merged(connection: Connection, sent: Sequence[Outcome]) -> None:
    """Mark notices as merged once the notice that carries them was accepted."""
    found = [{"carrier": one.id, "answered": one.status, "at_ns": one.at_ns} for one in sent if is_merged(one.id)]
    if not found:
        return
    statement = (
        update(outbox)
        .where(columns.merged_into == bindparam("carrier"), or_(columns.status == "waiting", columns.status == "dead"))
        .values(status="merged", last_status=bindparam("answered"), last_error=None, settled_ns=bindparam("at_ns"))
    )
    connection.execute(statement, found)


def free_stranded(connection: Connection, receiver: str) -> None:
    """Free notices merged into one that no longer waits, as after a kill between the two statements."""
    carrier = outbox.alias("carrier")
    waits = exists().where(
        carrier.c.id == columns.merged_into, carrier.c.status == literal("waiting", literal_execute=True)
    )
    stranded = (WAITING, columns.receiver == receiver, columns.merged_into.is_not(None), ~waits)
    connection.execute(update(outbox).where(*stranded).values(merged_into=None))


def is_merged(id_: str) -> bool:
    """Return whether an id is that of a merged notice."""
    return id_.startswith(ID_PREFIX)


def _unsent(now_ns: int, taker: Taker) -> tuple[Any, ...]:  # Any: conditions of SQLAlchemy
    return (
        WAITING,
        columns.receiver == taker.receiver,
        or_(columns.taken_by.is_(None), columns.taken_by == taker.name),
        columns.type == "incident.opened",
        columns.attempts == 0,
        columns.next_ns <= now_ns,
        columns.merged_into.is_(None),
    )


def _has_earlier() -> Any:  # Any: a condition of SQLAlchemy
    """Match openings behind a waiting notice of the same incident, which was reopened: they keep their place."""
    earlier = outbox.alias("earlier")
    return exists().where(
        earlier.c.receiver == columns.receiver,
        earlier.c.subject == columns.subject,
        earlier.c.status == literal("waiting", literal_execute=True),
        earlier.c.position < columns.position,
    )


def _merge(connection: Connection, now_ns: int, rows: Sequence[Row[Any]]) -> int:
    """Merge these rows into one notice; fewer than two stay as they are. Return how many merged."""
    if len(rows) < 2:
        return 0
    first = rows[0]
    parts = json.dumps((first.receiver, now_ns, [row.id for row in rows]), ensure_ascii=True).encode("ascii")
    id_ = ID_PREFIX + hashlib.blake2b(parts, digest_size=16, person=b"watchdog").hexdigest()
    bodies = [json.loads(row.body) for row in rows]
    merged = {
        "id": id_,
        "receiver": first.receiver,
        "incident_id": first.incident_id,
        "subject": first.subject,
        "type": MERGED,
        "severity": first.severity,
        "status": "waiting",
        "attempts": 0,
        "created_ns": now_ns,
        "next_ns": now_ns,
        "body": stored_json(merged_body(bodies)),
    }
    connection.execute(outbox.insert().values(**merged))
    places = [row.position for row in rows]
    connection.execute(update(outbox).where(columns.position.in_(places)).values(merged_into=id_))
    return len(rows)


def merged_body(bodies: Sequence[Mapping[str, Any]]) -> dict[str, object]:  # Any: JSON of the outbox
    """Return the `data` of a merged notice: rule and number, and of each incident what people and Alertmanager need."""
    first = bodies[0]
    shared = {name: first.get(name) for name in ("rule", "attack", "severity", "node", "title", "maturity")}
    return {
        **shared,
        "count": len(bodies),
        "opened": min((body["opened"] for body in bodies if body.get("opened") is not None), default=None),
        "summary": f"{len(bodies)} incidents of {first.get('rule')} opened",
        "incidents": [_named(body) for body in bodies],
    }


def _named(body: Mapping[str, Any]) -> dict[str, object]:
    entities = list(body.get("entities") or ())
    return {
        **{name: body.get(name) for name in _KEPT},
        "summary": str(body.get("summary") or "")[:SUMMARY_LIMIT],
        "entities": entities[:NAMED_ENTITIES],
        "entities_beyond": max(len(entities) - NAMED_ENTITIES, 0) + int(body.get("entities_beyond") or 0),
    }
