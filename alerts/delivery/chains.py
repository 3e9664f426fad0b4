"""What one queue holds: the notices of each incident in order, and which incident is next.

A case is an incident here: both are the subject of a notice.
Severity decides first, then who came first. An incident is as severe as the worst notice that is held of it, so what
must go before a critical notice goes as if it were critical. Pure: no clock, no sending.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator

from alerts.delivery.ports import Due
from alerts.incident import RANK

OPENED = "incident.opened"


class HeldNotices:
    """Ids of the notices that a queue holds: those in its chains, and those whose fate is not stored yet.

    A fetch reads the outbox while notices settle. So ids and incidents that end during a fetch are remembered until the
    next begins: its answer may still contain them.
    """

    def __init__(self) -> None:
        self._ids: set[str] = set()
        self._ended: set[str] = set()  # incidents whose chain ended, and released ids, since `begin_fetch`

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, notice_id: object) -> bool:
        return notice_id in self._ids

    def ids(self) -> frozenset[str]:
        """Return all ids that are held now."""
        return frozenset(self._ids)

    def begin_fetch(self) -> None:
        """Note that a fetch begins: notices that end from now on may still be in its answer."""
        self._ended.clear()

    def add(self, notice_id: str, incident: str) -> bool:
        """Hold a fetched notice; False for one that is held, or that ended since the fetch began."""
        if notice_id in self._ids or notice_id in self._ended or incident in self._ended:
            return False
        self._ids.add(notice_id)
        return True

    def release(self, notice_id: str) -> None:
        """Drop a notice whose fate is stored."""
        self._ids.discard(notice_id)
        self._ended.add(notice_id)

    def end(self, incident: str, notice_ids: Iterable[str]) -> None:
        """Drop an incident with the notices that its chain still has."""
        self._ids.difference_update(notice_ids)
        self._ended.add(incident)


class Chains:
    """Chains of notices, by incident. A chain is idle or busy; the first notice of a busy one is under way.

    A busy chain is neither evicted nor picked.
    """

    def __init__(self) -> None:
        self.held = HeldNotices()
        self._chains: dict[str, deque[Due]] = {}
        self._busy: set[str] = set()
        self._ranks: dict[str, int] = {}
        self._idle: tuple[dict[str, None], ...] = tuple({} for _ in RANK)  # by rank, in the order of their coming

    def __len__(self) -> int:
        return len(self.held)

    def add(self, due: Due) -> bool:
        """Hold a notice that was fetched; False for one that is held, or was dealt with since the fetch began."""
        notice = due.notice
        incident = notice.subject
        if not self.held.add(notice.id, incident):
            return False
        self._chains.setdefault(incident, deque()).append(due)
        if incident not in self._busy:
            self._make_idle(incident)
        return True

    def first(self) -> tuple[str, int] | None:
        """Return the incident that is next and its rank; None when all are busy."""
        for rank in range(len(self._idle) - 1, -1, -1):
            for incident in self._idle[rank]:
                return incident, rank
        return None

    def begin(self, incident: str) -> Due:
        """Return the first notice of an idle chain, and mark the chain busy."""
        self._leave_idle(incident)
        self._busy.add(incident)
        return self._chains[incident][0]

    def landed(self, incident: str) -> None:
        """Take the first notice, whose fate is known, out of its busy chain; it stays held until its release."""
        self._chains[incident].popleft()

    def proceed(self, incident: str) -> None:
        """Make a busy chain idle, with the notices that are left in it."""
        self._busy.discard(incident)
        if self._chains[incident]:
            self._make_idle(incident)
        else:
            del self._chains[incident]

    def end(self, incident: str) -> None:
        """Hold no more of this incident: what is left is fetched again when it is due."""
        self._busy.discard(incident)
        self._leave_idle(incident)
        self.held.end(incident, (due.notice.id for due in self._chains.pop(incident, ())))

    def evict(self, most: int) -> int:
        """Drop the least severe idle chains, the youngest first, until at most `most` notices are held.

        Return the number of chains dropped; with 0 for `most` only busy chains remain.
        """
        dropped = 0
        for idle in self._idle:
            while idle and len(self.held) > most:
                self.end(next(reversed(idle)))
                dropped += 1
        return dropped

    def most_alike(self) -> int:
        """Return the largest number of idle untried openings of one rule and severity."""
        counts = Counter(
            (str(due.notice.body.get("rule")), due.notice.severity)
            for due in self._heads()
            if due.notice.type == OPENED and not due.attempts
        )
        return max(counts.values(), default=0)

    def _heads(self) -> Iterator[Due]:
        for idle in self._idle:
            for incident in idle:
                yield self._chains[incident][0]

    def _make_idle(self, incident: str) -> None:
        rank = max(RANK[due.notice.severity] for due in self._chains[incident])
        if self._ranks.get(incident) != rank:
            self._leave_idle(incident)
            self._ranks[incident] = rank
            self._idle[rank][incident] = None

    def _leave_idle(self, incident: str) -> None:
        rank = self._ranks.pop(incident, None)
        if rank is not None:
            del self._idle[rank][incident]
