"""The order in which cases take findings: event time, behind the slowest part of the rules.

Promotions and series depend on what was known when, so findings in the order of their arrival would give other cases
in every run. Within one instant the order is that of content.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter

import msgspec

from alerts.book import END_NS
from alerts.book_record import NEVER_NS, plain_value
from alerts.case.act_queue import ActQueue
from alerts.case.acts import CaseAct
from alerts.case.state import STATE_VERSION, CaseState, rewind_state
from alerts.cases import CaseBook, CasePicture, IssuedNotice, Taken
from alerts.claims import RuleWords
from alerts.fingerprint import key_text
from alerts.incident import RANK
from alerts.maintenance import QuietWindow
from alerts.rule_texts import RuleText
from alerts.silence import ClaimSilence
from watchdog.core.errors import StateError
from watchdog.core.finding import Finding

PENDING = 100_000
"""Findings that wait for a part that is behind; beyond them the earlier half is taken without it."""


@dataclass(slots=True)
class FeedRecord:
    """The state of a feed: what waits for its time, and the cases so far. owners: see `CaseFeed`."""

    state: CaseState
    version: int = STATE_VERSION
    pending: list[tuple[int, str, Finding | None]] = field(default_factory=list)
    owners: dict[str, str] = field(default_factory=dict)


class CaseFeed:
    """Brings findings of several parts, each in its own order, to the cases of one node.

    late: findings that came behind the time of the cases; they count as now. owners: of rules over nodes, the node that
    has the claims of an incident.
    """

    def __init__(self, node: str, words: Mapping[str, RuleWords]) -> None:
        self.book = CaseBook(node, words)
        self.late = 0
        self.owners: dict[str, str] = {}
        self._pending: list[tuple[int, str, Finding | None]] = []
        self._first_ns = END_NS  # the earliest time that waits
        self._house_ns: int | None = None  # how far rules over nodes have come; None without them
        self._end_ns: int | None = None
        self.acts = ActQueue(self.book)

    def pass_house(self, mark_ns: int) -> None:
        """Note how far rules over nodes have come, whose findings may accuse this one: wait for them from now on."""
        self._house_ns = mark_ns

    def end_with_house(self, end_ns: int) -> list[IssuedNotice]:
        """Take in all that waits: the input of the rules over nodes has ended too."""
        self._house_ns = None
        return self.finish(end_ns if self._end_ns is None else self._end_ns)

    def take(self, time_ns: int, incident: str, finding: Finding | None) -> None:
        """Take a finding with its incident; it waits until all parts have reached its time."""
        self.late += time_ns < self.book.state.now_ns
        self._pending.append((time_ns, incident, finding))
        self._first_ns = min(self._first_ns, time_ns)

    def reach(self, marks: Sequence[int], running: Sequence[int]) -> list[IssuedNotice]:
        """Take in what all parts have passed. marks: the time of each part; running: of those to wait for.

        What a part reports at the very time of its mark may still be missing: the cases stay just behind.
        """
        if self._house_ns is not None:
            marks, running = [*marks, self._house_ns], [*running, self._house_ns]
        if not marks:
            return []
        until_ns = min(running, default=max(marks))
        if len(self._pending) > PENDING:
            self.book.state.count("pending_hurried", len(self._pending) - PENDING // 2)
            until_ns = max(until_ns, sorted(time_ns for time_ns, *_ in self._pending)[-(PENDING // 2)])
        return self._release(until_ns - 1) if until_ns > NEVER_NS else []

    def finish(self, end_ns: int) -> list[IssuedNotice]:
        """Take in all that waits: the input has ended, at this time. Where rules over nodes follow, wait for them."""
        if self._house_ns is not None:
            self._end_ns = end_ns
            return []
        return self._release(max([end_ns, *(time_ns for time_ns, *_ in self._pending)]))

    def rewind(self, now_ns: int) -> list[IssuedNotice]:
        """Restart time at `now_ns`, as a clock was ahead and has been set back. What waits counts before that."""
        if max([self.book.state.now_ns, *(time_ns for time_ns, *_ in self._pending)]) <= now_ns:
            return []
        issued = self._release(max((time_ns for time_ns, *_ in self._pending), default=now_ns))
        self.acts.hurry()  # they may wait for a time that is far off now
        issued += self.acts.until(self.book.state.now_ns)
        rewind_state(self.book.state, now_ns)
        return issued

    def _release(self, until_ns: int) -> list[IssuedNotice]:
        ready: list[tuple[int, str, Finding | None]] = []
        if self._first_ns <= until_ns:
            ready = [one for one in self._pending if one[0] <= until_ns]
            self._pending = [one for one in self._pending if one[0] > until_ns]
            self._first_ns = min((time_ns for time_ns, *_ in self._pending), default=END_NS)
        issued: list[IssuedNotice] = []
        for time_ns, group in groupby(sorted(ready, key=_order), key=itemgetter(0)):
            issued += self.acts.until(time_ns - 1)
            issued += self.book.advance(max(time_ns, self.book.state.now_ns) - 1)
            self.book.take(time_ns, [Taken(incident, finding) for _, incident, finding in group])
        return issued + self.acts.until(until_ns) + self.book.advance(until_ns)

    def snapshot(self) -> bytes:
        """Return the state as msgpack, for a checkpoint."""
        record = FeedRecord(self.book.state, pending=sorted(self._pending, key=_order), owners=self.owners)
        return msgspec.msgpack.encode(record, enc_hook=plain_value)

    def restore(self, blob: bytes) -> None:
        """Continue from a snapshot. StateError: it is damaged or of another version."""
        try:
            record = msgspec.msgpack.decode(blob, type=FeedRecord)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise StateError(f"cases: not a snapshot of this version ({error})") from None
        if record.version != STATE_VERSION:
            raise StateError(f"cases: version {record.version}, this program reads {STATE_VERSION}")
        before = self.book
        self.book = CaseBook(record.state.node, before.words, record.state)
        self.book.draw, self.book.texts, self.book.windows = before.draw, before.texts, before.windows
        self.acts = ActQueue(self.book)
        self._pending, self.owners = record.pending, record.owners
        self._first_ns = min((time_ns for time_ns, *_ in self._pending), default=END_NS)


@dataclass(frozen=True, slots=True)
class NodeCases:
    """The cases of one node.

    clock: those of findings by the wall clock, which moves when no event comes.
    """

    events: CaseFeed
    clock: CaseFeed

    @classmethod
    def of(cls, node: str, words: Mapping[str, RuleWords]) -> NodeCases:
        """Return the empty books of a node."""
        return cls(CaseFeed(node, words), CaseFeed(node, words))

    def pictures(self) -> list[CasePicture]:
        """Return all cases by opening time, then id."""
        both = [*self.events.book.pictures(), *self.clock.book.pictures()]
        return sorted(both, key=lambda one: (one.life.opened_ns, one.life.id))

    def take_act(self, act: CaseAct) -> None:
        """Take in an operator's act, on a case of this node or another. What was taken before is not taken again.

        Where neither book has the case it goes to both: the case may be on its way again after a kill.
        """
        both = (self.events, self.clock)
        if act.id <= self.events.book.state.acted:
            return
        for feed in both:
            feed.book.state.acted = act.id
        if act.node == self.events.book.state.node:
            known = [feed for feed in both if feed.book.state.case(act.case) is not None]
            for feed in known or both:
                feed.acts.take(act)

    def forget_acts_after(self, last_id: int) -> None:
        """Forget ids beyond the latest in the database: a new database numbers from 1 again."""
        for feed in (self.events, self.clock):
            state = feed.book.state
            state.acted, state.acts = min(state.acted, last_id), [one for one in state.acts if one[1].id <= last_id]

    def advise(self, texts: Mapping[str, RuleText]) -> None:
        """Use these texts of what to do from now on, for open cases too."""
        self.events.book.texts = self.clock.book.texts = texts

    def change_rules(self, words: Mapping[str, RuleWords]) -> None:
        """Use the words of other rules from now on; claims keep theirs."""
        self.events.book.words = self.clock.book.words = words

    def silence(self, silences: Sequence[ClaimSilence], windows: Sequence[QuietWindow] = ()) -> bool:
        """Use these silences and maintenance windows from now on; return whether silences differ from those before."""
        for feed in (self.events, self.clock):
            feed.book.maintain(windows)
        changed = [feed.book.silence(silences) for feed in (self.events, self.clock)]
        return any(changed)

    def snapshot(self) -> tuple[bytes, bytes]:
        """Return the state of both, for a checkpoint."""
        return self.events.snapshot(), self.clock.snapshot()

    def restore(self, blobs: tuple[bytes, bytes]) -> None:
        """Continue from a checkpoint; one without cases leaves them empty. StateError: damaged or another version."""
        for feed, blob in zip((self.events, self.clock), blobs, strict=True):
            if blob:
                feed.restore(blob)


def _order(one: tuple[int, str, Finding | None]) -> tuple[int, int, str, int, str, str, str, tuple[str, ...]]:
    """Return the order of findings: time; fires before clears, and both before ends; then by content."""
    time_ns, incident, finding = one
    if finding is None:
        return (time_ns, 2, "", 0, incident, "", "", ())
    clears = int(finding.change == "clear")
    return (
        time_ns,
        clears,
        finding.rule,
        -RANK[finding.severity],
        incident,
        key_text(finding.key),
        finding.summary,
        finding.entities,
    )
