"""The outbox as the sender sees it: outcomes in batches, and retries that a stepping clock cannot strand."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import Connection, bindparam, update

from alerts.delivery.ports import Due, Fate, Outcome
from alerts.delivery.schedule import HORIZON_NS
from alerts.routing import Receiver
from alerts.store.database import Database
from alerts.store.firing import FIRING_TYPES, FiringCases, firing_cases, firing_ids, firing_pictures
from alerts.store.merged import Taker, free_stranded, merge_openings, settle_merged, take
from alerts.store.outbox import Outbox
from alerts.store.ready import WAITING
from alerts.store.schema import outbox
from alerts.store.threads import keep_texts
from watchdog.core.errors import StoreUnavailableError

_LOG = logging.getLogger("watchdog.delivery")
STEP_NS = 1_000_000_000  # how far the clock must go back to count as a step


class StoredOutbox:
    """`Outbox` with what the sender needs beside it. One thread uses it."""

    def __init__(self, database: Database) -> None:
        self._database, self._outbox = database, Outbox(database)
        self._seen_ns: dict[str, int] = {}
        self._cases = FiringCases()
        self._name = secrets.token_hex(8)
        self._taken: dict[str, frozenset[str]] = {}  # openings of the last answer, by receiver

    def due(self, now_ns: int, receiver: str, limit: int) -> Sequence[Due]:
        """Return the notices that may be sent now. After a clock step back, waiting notices are moved back too."""
        before = self._seen_ns.get(receiver)
        if before is None:
            self._pull_in(receiver, now_ns + HORIZON_NS, None, now_ns)
            self._database.write(lambda connection: free_stranded(connection, receiver))
        elif now_ns < before - STEP_NS:
            self._pull_in(receiver, now_ns, before - now_ns, now_ns)
        self._seen_ns[receiver] = now_ns
        found = self._outbox.due(now_ns, receiver, limit)
        openings = frozenset(one.notice.id for one in found if one.notice.type == "incident.opened")
        fresh = openings - self._taken.get(receiver, frozenset())
        if fresh:
            self._take(fresh)
        self._taken[receiver] = openings
        return found

    def _take(self, ids: frozenset[str]) -> None:
        try:
            self._database.write(lambda connection: take(connection, self._name, ids))
        except StoreUnavailableError:  # a full disk must not hold alerts back; at worst an opening is sent twice
            _LOG.warning("openings under way cannot be marked: the database takes nothing now")

    def merge(self, now_ns: int, receiver: str, least: int, in_hand: Collection[str]) -> int:
        """Merge openings of a rule where `least` or more of them wait; how many notices merged."""
        taker = Taker(receiver, self._name, in_hand)
        return self._database.write(lambda connection: merge_openings(connection, now_ns, taker, least))

    def firing(self, receiver: Receiver) -> Sequence[str]:
        """Return the ids of unresolved incidents or cases of which a receiver was to be notified."""
        if receiver.about == "cases":
            return self._database.read(lambda connection: firing_cases(connection, receiver.name))
        types = [one for one in FIRING_TYPES if one in receiver.events]
        if not types:
            return ()
        return self._database.read(lambda connection: firing_ids(connection, types, receiver.severity))

    def pictures(self, receiver: Receiver, ids: Sequence[str]) -> Sequence[Mapping[str, object]]:
        """Return the objects of those incidents or cases that are not resolved, without their evidence."""
        if receiver.about == "cases":
            return self._database.read(lambda connection: self._cases.objects(connection, receiver.name, ids))
        return self._database.read(lambda connection: firing_pictures(connection, ids))

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        """Store the outcomes of attempts: the sent ones in one statement, then the (few) failures one by one."""
        sent = [one for one in outcomes if one.fate is Fate.SENT]
        if sent:
            self._database.write(lambda connection: _mark_sent(connection, sent))
        for one in outcomes:
            if one.fate is Fate.DEAD:
                self._outbox.dead(one.id, one.error, one.at_ns, one.status)
            elif one.retry_at_ns is not None:
                self._outbox.failed(one.id, one.error, one.retry_at_ns, one.status)

    def _pull_in(self, receiver: str, beyond_ns: int, earlier_ns: int | None, now_ns: int) -> None:
        """Make what is due after `beyond_ns` due so much earlier, or now.

        At a start the step is unknown; but no retry is ever planned beyond the horizon, so what lies there was stored
        by a clock that ran ahead.
        """
        due = outbox.c.next_ns
        far = (WAITING, outbox.c.receiver == receiver, due > beyond_ns)
        statement = update(outbox).where(*far).values(next_ns=now_ns if earlier_ns is None else due - earlier_ns)
        self._database.write(lambda connection: connection.execute(statement))


def _mark_sent(connection: Connection, sent: Sequence[Outcome]) -> None:
    """Mark notices as sent, also one made a dead letter while its attempt was under way: it arrived."""
    rows = [{"notice": one.id, "answered": one.status, "at_ns": one.at_ns} for one in sent]
    statement = (
        update(outbox)
        .where(outbox.c.id == bindparam("notice"), outbox.c.status != "sent")
        .values(
            status="sent",
            attempts=outbox.c.attempts + 1,
            last_status=bindparam("answered"),
            last_error=None,
            settled_ns=bindparam("at_ns"),
        )
    )
    connection.execute(statement, rows)
    keep_texts(connection, sent)
    settle_merged(connection, sent)
