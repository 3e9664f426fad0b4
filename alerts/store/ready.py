"""What may be sent now: the most severe incidents first, and within an incident nothing before what was made earlier.

Cases (by their root) are in this what incidents are: both are the subject of a notice.
An incident is as severe as the worst of its notices that is due, so a notice of small severity that must go before a
critical one goes with it. An earlier notice of the incident holds back the later ones while it waits for its retry, or
for the notice that it merged into (`merged`); that one itself is not held back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, exists, literal, or_, select

from alerts.notice import MERGED
from alerts.store.schema import outbox
from watchdog.core.finding import SEVERITIES, Severity

SPAN = 8  # rows looked at for each that is wanted: an incident with more before its worst one is sent in portions

columns = outbox.c
WAITING = columns.status == literal("waiting", literal_execute=True)
"""Spelled out in the SQL, not bound: only then may the planner use the indexes of waiting rows."""

_DUE = (
    select(columns.position)
    .where(WAITING, columns.receiver == bindparam("receiver"), columns.next_ns <= bindparam("now_ns"))
    .limit(1)
)
"""Whether anything is due: the sender asks every two seconds, and the answer is almost always no."""


def ready_rows(connection: Connection, now_ns: int, receiver: str, limit: int) -> list[Row[Any]]:
    """Return rows of the outbox, at most `limit`.

    Something is given out whenever something may be sent: an incident is looked at only when the notice that makes it
    severe is held back by nothing.
    """
    if connection.execute(_DUE, {"receiver": receiver, "now_ns": now_ns}).first() is None:
        return []
    chosen: dict[int, None] = {}  # positions, in the order of sending
    seen: set[str] = set()
    for severity in reversed(SEVERITIES):
        if len(chosen) >= limit:
            break
        subjects = [one for one in _pressing(connection, now_ns, receiver, severity, limit) if one not in seen]
        seen.update(subjects)
        chosen |= dict.fromkeys(_free(connection, now_ns, receiver, subjects, limit))
    wanted = list(chosen)[:limit]
    rows = {row.position: row for row in connection.execute(select(outbox).where(columns.position.in_(wanted)))}
    return [rows[position] for position in wanted]


def _pressing(connection: Connection, now_ns: int, receiver: str, severity: Severity, limit: int) -> list[str]:
    """Select incidents with a notice of this severity that may go as soon as earlier ones have gone."""
    earlier = outbox.alias("earlier")
    held_back = exists().where(
        earlier.c.receiver == columns.receiver,
        earlier.c.subject == columns.subject,
        earlier.c.status == literal("waiting", literal_execute=True),
        earlier.c.position < columns.position,
        or_(earlier.c.next_ns > now_ns, earlier.c.merged_into.is_not(None)),
    )
    own = (WAITING, columns.receiver == receiver, columns.severity == severity, columns.next_ns <= now_ns)
    free = (columns.merged_into.is_(None), or_(columns.type == MERGED, ~held_back))
    wanted = select(columns.subject).where(*own, *free).order_by(columns.next_ns, columns.position).limit(limit)
    return list(dict.fromkeys(connection.execute(wanted).scalars()))


def _free(connection: Connection, now_ns: int, receiver: str, subjects: Sequence[str], limit: int) -> list[int]:
    """Select the positions of what may be sent of these incidents, in the order of its making."""
    light = (columns.position, columns.subject, columns.next_ns, columns.merged_into, columns.type)
    own = (WAITING, columns.receiver == receiver, columns.subject.in_(subjects))
    rows = connection.execute(select(*light).where(*own).order_by(columns.position).limit(limit * SPAN))
    found, blocked = [], set()
    for row in rows:
        if row.type == MERGED:  # it stands for other incidents too: no notice of this one holds it back
            if row.next_ns <= now_ns:
                found.append(row.position)
            continue
        if row.next_ns > now_ns or row.merged_into is not None:
            blocked.add(row.subject)
        if row.subject not in blocked:
            found.append(row.position)
    return found
