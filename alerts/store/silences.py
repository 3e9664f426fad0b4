"""Silences in the history: added, extended and expired by people, whether a service runs or not.

A running service looks for them every few seconds. A silence that is over stays for the record, for a year.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, delete, func, select, update

from alerts.incident import IncidentState
from alerts.silence import MOST, WHO_LIMIT, ClaimSilence, SilenceError, check_end, checked
from alerts.store.audit import record_audit
from alerts.store.database import Database, stored_text
from alerts.store.schema import incident_pictures, incidents, silences
from watchdog.core.durations import DAY_NS

KEPT_NS = 365 * DAY_NS  # after their end
PREVIEWED = 10_000  # incidents that a preview looks at
LISTED = 1_000  # of those that are over, the latest


class UnknownSilenceError(SilenceError):
    """No silence has this id."""


@dataclass(frozen=True, slots=True)
class KeptSilence:
    """A stored silence. changed_by: who last extended or expired it. expired_ns: when an operator ended it."""

    silence: ClaimSilence
    changed_by: str | None = None
    expired_ns: int | None = None

    def state(self, now_ns: int) -> str:
        """Return `active`, `expired` by a person, or `over`."""
        if self.expired_ns is not None:
            return "expired"
        return "active" if now_ns < self.silence.until_ns else "over"

    def as_object(self, now_ns: int) -> dict[str, object]:
        """Return the object for API and command line; times in unix seconds."""
        one = self.silence
        return {
            "id": one.id,
            "state": self.state(now_ns),
            **{name: getattr(one, name) or None for name in ("party", "rule", "technique", "node")},
            "from": one.from_ns / 1e9,
            "until": one.until_ns / 1e9,
            "author": one.author,
            "comment": one.comment,
            "changed_by": self.changed_by,
            "expired": None if self.expired_ns is None else self.expired_ns / 1e9,
            "place": one.place or None,
        }


class Silences:
    """The silences of one database. Times are the wall clock's."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, silence: ClaimSilence, now_ns: int) -> KeptSilence:
        """Store a silence that begins now; its id is given here.

        SilenceError: it cannot be so, or there are too many. StoreUnavailableError when the database does not answer.
        """
        return self.add_all([silence], now_ns)[0]

    def add_all(self, wanted: Sequence[ClaimSilence], now_ns: int) -> list[KeptSilence]:
        """Store several silences that begin now, all of them or none; see `add`."""
        fitting = [checked(one) for one in wanted]
        for one in fitting:
            check_end(one.until_ns, now_ns)
        return self._database.write(lambda connection: _added(connection, fitting, now_ns), durable=True)

    def extend(self, id_: str, until_ns: int, who: str, now_ns: int) -> KeptSilence:
        """Move the end of a silence that is not over. UnknownSilenceError, SilenceError: it is over, or wrong."""
        check_end(until_ns, now_ns)
        fresh = {"until_ns": until_ns, "changed_by": _name(who), "reminded_ns": None}
        return self._database.write(lambda one: _changed(one, id_, fresh, now_ns), durable=True)

    def expire(self, id_: str, who: str, now_ns: int) -> KeptSilence:
        """End a silence now. UnknownSilenceError, SilenceError: it is over already."""
        fresh = {"until_ns": now_ns, "expired_ns": now_ns, "changed_by": _name(who)}
        return self._database.write(lambda one: _changed(one, id_, fresh, now_ns), durable=True)

    def listed(self, now_ns: int, *, over: bool = False) -> list[KeptSilence]:
        """Return the silences in force, the next to end first. over: after them those that are over, latest first."""
        table = silences.c
        asked = [select(silences).where(table.until_ns > now_ns).order_by(table.until_ns, table.id)]
        if over:
            ended = select(silences).where(table.until_ns <= now_ns)
            asked.append(ended.order_by(table.until_ns.desc(), table.id.desc()).limit(LISTED))
        return self._database.read(lambda one: [_kept(row) for wanted in asked for row in one.execute(wanted)])

    def since(self, time_ns: int) -> list[ClaimSilence]:
        """Return the silences that end after a time, by id: what a service with events from then on needs to know.

        Those that end last come first where there are more than twice `MOST`.
        """
        asked = select(silences).where(silences.c.until_ns > time_ns).order_by(silences.c.until_ns.desc())
        found = self._database.read(lambda one: [_kept(row).silence for row in one.execute(asked.limit(2 * MOST))])
        return sorted(found, key=lambda one: int(one.id))

    def recent_incidents(self, since_ns: int, most: int = PREVIEWED) -> list[dict[str, Any]]:
        """Return the incidents that are not resolved, or changed after a time, the latest first, without evidence."""
        recent = (incidents.c.state != IncidentState.RESOLVED.value) | (incidents.c.updated_ns >= since_ns)
        asked = select(incident_pictures.c.picture).join(incidents, incidents.c.id == incident_pictures.c.incident_id)
        asked = asked.where(recent).order_by(incidents.c.opened_ns.desc(), incidents.c.id.desc()).limit(most)
        return [json.loads(one) for one in self._database.read(lambda one: one.execute(asked).scalars().all())]

    def remind(self, ids: Sequence[str]) -> list[str]:
        """Note that the ends of these silences are announced; return the ids that were not before."""
        if not ids:
            return []
        chosen = [int(id_) for id_ in ids][:MOST]
        fresh = (
            silences.c.id.in_(chosen),
            silences.c.reminded_ns.is_(None) | (silences.c.reminded_ns != silences.c.until_ns),
        )
        change = update(silences).where(*fresh).values(reminded_ns=silences.c.until_ns).returning(silences.c.id)
        return self._database.write(lambda one: sorted(str(id_) for id_ in one.execute(change).scalars()))


def _name(who: str) -> str:
    who = who.strip()
    if not who or len(who) > WHO_LIMIT:
        raise SilenceError(f"who does it? a name of 1 to {WHO_LIMIT} characters is needed")
    return stored_text(who)


def _added(connection: Connection, wanted: Sequence[ClaimSilence], now_ns: int) -> list[KeptSilence]:
    count = select(func.count()).select_from(silences).where(silences.c.until_ns > now_ns)
    if connection.execute(count).scalar_one() + len(wanted) > MOST:
        raise SilenceError(f"{MOST} silences are in force already; expire some")
    connection.execute(delete(silences).where(silences.c.until_ns < now_ns - KEPT_NS))
    kept = [
        _kept(connection.execute(silences.insert().values(_row(one, now_ns)).returning(silences)).one())
        for one in wanted
    ]
    for one in kept:
        _audit(connection, "added", one, one.silence.author, now_ns)
    return kept


def _changed(connection: Connection, id_: str, fresh: dict[str, Any], now_ns: int) -> KeptSilence:
    own = silences.c.id == _number(id_)
    row = connection.execute(select(silences).where(own).with_for_update()).first()
    if row is None:
        raise UnknownSilenceError(f"no silence {id_[:20]!r}")
    if row.until_ns <= now_ns:
        raise SilenceError(f"silence {row.id} is over; add a new one")
    kept = _kept(connection.execute(update(silences).where(own).values(**fresh).returning(silences)).one())
    _audit(connection, "expired" if "expired_ns" in fresh else "extended", kept, str(fresh["changed_by"]), now_ns)
    return kept


def _audit(connection: Connection, change: str, kept: KeptSilence, who: str, now_ns: int) -> None:
    one = kept.silence
    texts = {name: getattr(one, name) for name in ("party", "rule", "technique", "node", "comment")}
    detail = {"change": change, "until": one.until_ns / 1e9, **{name: text for name, text in texts.items() if text}}
    record_audit(connection, "silence", who, f"silence {one.id}", at_ns=now_ns, detail=detail)


def _number(id_: str) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", id_):
        hint = "; those of the configuration are changed there" if id_.startswith("file:") else ""
        raise UnknownSilenceError(f"no silence {id_[:20]!r}{hint}")
    return int(id_)


def _row(one: ClaimSilence, now_ns: int) -> dict[str, object]:
    texts = {
        name: stored_text(getattr(one, name)) for name in ("node", "party", "rule", "technique", "author", "comment")
    }
    return {**texts, "from_ns": now_ns, "until_ns": one.until_ns}


def _kept(row: Row[Any]) -> KeptSilence:
    one = ClaimSilence(
        str(row.id),
        row.from_ns,
        row.until_ns,
        row.author,
        row.comment,
        party=row.party,
        rule=row.rule,
        technique=row.technique,
        node=row.node,
    )
    return KeptSilence(one, row.changed_by, row.expired_ns)
