"""Threads: what a channel returned for the first notice of a case or incident, given with its later notices."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import Connection, bindparam, select, update

from alerts.delivery.ports import Outcome
from alerts.store.schema import outbox

columns = outbox.c


def kept_texts(connection: Connection, receiver: str, subjects: Collection[str]) -> dict[str, str]:
    """Return the oldest kept text of each of these subjects at a receiver; no entry where nothing was kept."""
    wanted = (columns.receiver == receiver, columns.subject.in_(sorted(subjects)), columns.kept.is_not(None))
    statement = select(columns.subject, columns.kept).where(*wanted).order_by(columns.position.desc())
    return {subject: text for subject, text in connection.execute(statement)}  # noqa: C416 (rows are no pairs to mypy)


def keep_texts(connection: Connection, outcomes: Sequence[Outcome]) -> None:
    """Store what channels returned."""
    rows = [{"notice": one.id, "text": one.kept} for one in outcomes if one.kept]
    if rows:
        statement = update(outbox).where(columns.id == bindparam("notice")).values(kept=bindparam("text"))
        connection.execute(statement, rows)
