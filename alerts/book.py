"""The incident book: findings in, changes of incidents out; a pure state machine in event time."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import cast

import msgspec

from alerts.fingerprint import fingerprint, key_text
from alerts.incident import RANK, Incident, IncidentChange, IncidentState, Policy, Reason
from alerts.incident_life import IncidentLife, member_label, opened_case, opening_text
from watchdog.core.durations import rough_duration
from watchdog.core.errors import StateError, WatchdogError
from watchdog.core.finding import OVERFLOW, Finding

BOOK_VERSION = 4  # 2: cases count their steps; 3: a book for each part of the rules; 4: the watched share
TAKEN_OVER = (3, BOOK_VERSION)  # what is new in 4 has a default
NEVER_NS, END_NS = -(1 << 63), (1 << 63) - 1


class IncidentError(WatchdogError):
    """An operator's action names no incident, or one that cannot change that way."""


class UnknownIncidentError(IncidentError):
    """No incident has this id, or it was forgotten."""


@dataclass(slots=True)
class BookRecord:
    """The state of a book; settled cases come first, in the order in which they settled."""

    version: int = BOOK_VERSION
    now_ns: int = NEVER_NS
    settled: list[IncidentLife] = field(default_factory=list)
    live: list[IncidentLife] = field(default_factory=list)
    pending: list[Finding] = field(default_factory=list)
    counters: dict[str, int] = field(default_factory=dict)


class IncidentBook:
    """The incidents of rules that have one time; `alerts.books` keeps a book for each.

    `apply` takes findings; those of one instant are collected and applied together, in an order of their
    own, so that the order in which they came does not matter. They are applied when a later finding comes or
    when `advance` passes their time, whichever is first. `advance` also resolves: an incident whose members
    have all cleared is resolved once `resolve_after` has passed since the last clear. It reopens, with its
    id, when the same fingerprint fires again within `resolve_after` (at least `Policy.reopen_ns`) of that.
    Findings behind the book's time change numbers and members, never the past.

    `counters`: findings, late (behind the book's time), unmatched (a clear for nothing that fires),
    overflow (put under the rule's common incident), forgotten (settled incidents dropped at the cap).
    """

    def __init__(self, policy: Policy | None = None) -> None:
        self.policy = policy or Policy()
        self.counters: Counter[str] = Counter()
        self._now_ns = NEVER_NS
        self._pending: list[Finding] = []
        self._live: dict[str, IncidentLife] = {}
        self._settled: dict[str, IncidentLife] = {}
        self._by_id: dict[str, IncidentLife] = {}
        self._open: Counter[tuple[str, str]] = Counter()
        self._timers: list[tuple[int, str]] = []

    def apply(self, finding: Finding) -> list[IncidentChange]:
        """Take one finding; returns the changes of the instants that it completes (often none, see `advance`)."""
        changes: list[IncidentChange] = []
        if self._pending and finding.time_ns > self._pending[-1].time_ns:
            changes = self._settle_pending(finding.time_ns - 1)
        self._pending.append(finding)
        return changes

    def advance(self, watermark_ns: int) -> list[IncidentChange]:
        """No finding before `watermark_ns` is expected: apply what is held up to it, and resolve what is due."""
        changes = self._settle_pending(watermark_ns)
        changes += self._expire(watermark_ns)
        return changes

    def drain(self) -> list[IncidentChange]:
        """Apply every held finding (the input has ended); resolves only what is due at their times."""
        return self._settle_pending(END_NS)

    @property
    def now_ns(self) -> int:
        """The latest time that was reached, NEVER_NS before the first."""
        return self._now_ns

    def knows(self, id_: str) -> bool:
        """Whether it has this incident."""
        return id_ in self._by_id

    @property
    def firing(self) -> frozenset[tuple[str, str]]:
        """Rules and members (keys as text) that have fired and not cleared."""
        return frozenset((case.rule, member) for case in self._live.values() for member in case.firing)

    def incidents(self) -> list[Incident]:
        """All remembered incidents by opening time, then id."""
        cases = sorted(self._by_id.values(), key=lambda case: (case.opened_ns, case.id))
        return [case.picture(self.policy) for case in cases]

    def incident(self, id_: str) -> Incident | None:
        """One incident, or None when it is not known (any more)."""
        case = self._by_id.get(id_)
        return case.picture(self.policy) if case else None

    def acknowledge(self, id_: str, who: str, time_ns: int) -> list[IncidentChange]:
        """An operator has seen it; another one may take over. IncidentError when it is unknown or resolved."""
        case = self._known(id_)
        if case.state is IncidentState.RESOLVED:
            raise IncidentError(f"incident {id_!r} is resolved: it cannot be acknowledged")
        if case.acknowledged_by == who:
            return []
        case.state, case.acknowledged_by = IncidentState.ACKNOWLEDGED, who
        return [case.step(time_ns, Reason.ACKNOWLEDGED, f"by {who}", self.policy)]

    def resolve(self, id_: str, who: str, time_ns: int) -> list[IncidentChange]:
        """An operator says it is over; it reopens when a key fires anew. IncidentError when unknown."""
        case = self._known(id_)
        if case.state is IncidentState.RESOLVED:
            return []
        return [self._resolved(case, max(time_ns, case.opened_ns), Reason.RESOLVED_BY_OPERATOR, f"by {who}")]

    def clear_others(self, kept: Collection[str]) -> list[IncidentChange]:
        """Of rules that are not kept nothing is known to fire any more: they were changed and start anew, or are gone.

        What still holds fires again, and its incident goes on; all others are resolved after their `resolve_after`.
        """
        changes, time_ns = [], self._now_ns
        for case in [case for case in self._live.values() if case.firing and case.rule not in kept]:
            case.quiet.update(dict.fromkeys(case.firing, time_ns))
            case.firing.clear()
            case.cleared_ns = max(time_ns, case.opened_ns)
            self._arm(case)
            if case.state is not IncidentState.RESOLVED:
                changes.append(case.step(case.cleared_ns, Reason.CLEARED, "the rules were changed", self.policy))
        return changes

    def rewind(self, now_ns: int, *, clears: bool = True) -> list[IncidentChange]:
        """A clock was ahead and has been set back to `now_ns`, from which time runs again.

        No incident keeps a time after that, or it could not resolve before time caught up. clears: nothing is known to
        fire any more, as with `clear_others`: what still holds fires again, and its incident stays.
        """
        changes = self._settle_pending(END_NS)
        self._now_ns, self._timers = now_ns, []
        for case in list(self._live.values()):
            case.rewind(now_ns)
            if clears and case.firing:
                case.quiet.update(dict.fromkeys(case.firing, now_ns - 1))
                case.firing.clear()
                case.cleared_ns = max(now_ns, case.opened_ns)
                if case.state is not IncidentState.RESOLVED:
                    changes.append(case.step(now_ns, Reason.CLEARED, "a clock was set back", self.policy))
            self._arm(case)
        return changes

    def snapshot(self) -> bytes:
        """The whole state as msgpack; `restore` gives a book with the same future."""
        return msgspec.msgpack.encode(self.record(), enc_hook=plain)

    def record(self) -> BookRecord:
        """The whole state; it shares its cases with this book."""
        settled, live = list(self._settled.values()), list(self._live.values())
        return BookRecord(BOOK_VERSION, self._now_ns, settled, live, list(self._pending), dict(self.counters))

    @classmethod
    def restore(cls, blob: bytes, policy: Policy | None = None) -> IncidentBook:
        """The book of a snapshot; StateError when the bytes are of another version or damaged."""
        try:
            record = msgspec.msgpack.decode(blob, type=BookRecord)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise StateError(f"incident book: not a snapshot of this version ({error})") from None
        if record.version not in TAKEN_OVER:
            raise StateError(f"incident book: version {record.version}, this program reads {BOOK_VERSION}")
        return cls.of(record, policy)

    @classmethod
    def of(cls, record: BookRecord, policy: Policy | None = None) -> IncidentBook:
        """The book of a record."""
        book = cls(policy)
        book._now_ns = record.now_ns
        book._pending = record.pending
        book.counters.update(record.counters)
        book._settled = {case.id: case for case in record.settled}
        book._live = {case.fingerprint: case for case in record.live}
        book._by_id = {case.id: case for case in (*record.settled, *record.live)}
        for case in record.live:
            book._open[case.node, case.rule] += case.state is not IncidentState.RESOLVED
            book._arm(case)
        return book

    def _known(self, id_: str) -> IncidentLife:
        case = self._by_id.get(id_)
        if case is None:
            raise UnknownIncidentError(f"no incident {id_!r}")
        return case

    def _settle_pending(self, until_ns: int) -> list[IncidentChange]:
        """Apply the held findings up to `until_ns` in the order of time, and at one time in a fixed order."""
        ready = sorted((held for held in self._pending if held.time_ns <= until_ns), key=_order)
        if not ready:
            return []
        self._pending = [held for held in self._pending if held.time_ns > until_ns]
        changes: list[IncidentChange] = []
        for finding in ready:
            changes += self._expire(finding.time_ns)
            changes += self._applied(finding)
        return changes

    def _applied(self, finding: Finding) -> list[IncidentChange]:
        self.counters["findings"] += 1
        self.counters["late"] += finding.time_ns < self._now_ns
        act: Callable[[Finding], list[IncidentChange]] = self._clear if finding.change == "clear" else self._fire
        return act(finding)

    def _fire(self, finding: Finding) -> list[IncidentChange]:
        policy = self.policy
        case = self._case_of(finding)
        if case is None and self._open[finding.node, finding.rule] >= policy.open_per_rule:
            self.counters["overflow"] += 1
            case = self._live.get(fingerprint(finding.rule, finding.node, OVERFLOW))
            if case is None:
                return self._opened(finding, OVERFLOW)
        if case is None or self._is_over(case, finding):
            return self._opened(finding, finding.incident)
        time_ns = max(finding.time_ns, case.resolved_ns or case.opened_ns)
        fresh = case.join(finding, policy)
        case.absorb(finding, policy)
        if case.state is IncidentState.RESOLVED:
            again = finding.change == "fire" and key_text(finding.key) in case.firing
            return self._reopened(case, finding, time_ns) if fresh or again else []
        changes = []
        if fresh:
            changes.append(case.step(time_ns, Reason.MEMBER_JOINED, member_label(finding), policy))
        if RANK[finding.severity] > RANK[case.severity]:
            text = f"{case.severity} to {finding.severity}: {finding.summary}"
            case.severity = finding.severity
            changes.append(case.step(time_ns, Reason.ESCALATED, text, policy))
        return changes or [case.step(time_ns, Reason.UPDATED, finding.summary, policy)]

    def _case_of(self, finding: Finding) -> IncidentLife | None:
        """The live case of a finding: the one in which its key fires, else that of its own fingerprint."""
        own = self._live.get(fingerprint(finding.rule, finding.node, finding.incident))
        member = key_text(finding.key)
        if own is None or member not in own.firing:
            common = self._live.get(fingerprint(finding.rule, finding.node, OVERFLOW))
            if common is not None and member in common.firing:
                return common
        return own

    def _is_over(self, case: IncidentLife, finding: Finding) -> bool:
        """Whether a case that an operator resolved, and whose keys never cleared, is too old to reopen."""
        settles_ns = case.settles_ns(self.policy)
        if settles_ns is None or finding.time_ns <= settles_ns or key_text(finding.key) in case.firing:
            return False
        self._settle(case)
        return True

    def _opened(self, finding: Finding, key: Mapping[str, str]) -> list[IncidentChange]:
        case, opened_ns = opened_case(finding, key), finding.time_ns
        while case.id in self._by_id:  # this time was there before, as a clock was set back: it is another incident
            opened_ns += 1
            case = opened_case(replace(finding, time_ns=opened_ns), key)
        self._live[case.fingerprint] = self._by_id[case.id] = case
        self._open[case.node, case.rule] += 1
        case.join(finding, self.policy)
        case.absorb(finding, self.policy)
        return [case.step(finding.time_ns, Reason.OPENED, opening_text(finding), self.policy)]

    def _reopened(self, case: IncidentLife, finding: Finding, time_ns: int) -> list[IncidentChange]:
        case.state, case.resolved_ns, case.acknowledged_by = IncidentState.OPEN, None, None
        case.cleared_ns = None
        self._open[case.node, case.rule] += 1
        changes = [case.step(time_ns, Reason.REOPENED, opening_text(finding), self.policy)]
        if RANK[finding.severity] > RANK[case.severity]:
            text = f"{case.severity} to {finding.severity}: {finding.summary}"
            case.severity = finding.severity
            changes.append(case.step(time_ns, Reason.ESCALATED, text, self.policy))
        return changes

    def _clear(self, finding: Finding) -> list[IncidentChange]:
        case = self._case_of(finding)
        if case is None:
            self.counters["unmatched"] += 1
            return []
        left = case.leave(finding)
        self.counters["unmatched"] += not left
        case.absorb(finding, self.policy)
        if not left:
            return []
        self._arm(case)
        if case.state is IncidentState.RESOLVED:
            return []
        reason = Reason.MEMBER_CLEARED if case.firing else Reason.CLEARED
        time_ns = max(finding.time_ns, case.opened_ns)
        return [case.step(time_ns, reason, member_label(finding), self.policy)]

    def _resolved(self, case: IncidentLife, time_ns: int, reason: Reason, text: str) -> IncidentChange:
        case.state, case.resolved_ns = IncidentState.RESOLVED, time_ns
        self._open[case.node, case.rule] -= 1
        self._arm(case)
        return case.step(time_ns, reason, text, self.policy)

    def _arm(self, case: IncidentLife) -> None:
        """Set the timer for the next thing that time alone does to this case."""
        next_ns = case.due_ns() if case.state is not IncidentState.RESOLVED else case.settles_ns(self.policy)
        if next_ns is not None:
            heapq.heappush(self._timers, (next_ns, case.fingerprint))

    def _expire(self, now_ns: int) -> list[IncidentChange]:
        """Resolve and settle what is due; a timer that no longer fits its case does nothing."""
        changes = []
        self._now_ns = max(self._now_ns, now_ns)
        while self._timers and self._timers[0][0] <= now_ns:
            time_ns, name = heapq.heappop(self._timers)
            case = self._live.get(name)
            if case is None:
                continue
            if case.due_ns() == time_ns:
                text = f"quiet for {rough_duration(case.resolve_after_ns)}"
                changes.append(self._resolved(case, time_ns, Reason.RESOLVED, text))
            elif not case.firing and case.settles_ns(self.policy) == time_ns:
                self._settle(case)
        return changes

    def _settle(self, case: IncidentLife) -> None:
        """Nothing reopens this case any more; beyond the cap the one that settled first is forgotten."""
        case.settle()
        del self._live[case.fingerprint]
        self._settled[case.id] = case
        while len(self._settled) > self.policy.resolved:
            oldest = next(iter(self._settled))
            del self._settled[oldest], self._by_id[oldest]
            self.counters["forgotten"] += 1


def _order(finding: Finding) -> tuple[object, ...]:
    """Order of findings of one instant: fires before clears, the worst first, then by text."""
    return (
        finding.time_ns,
        finding.change == "clear",
        finding.rule,
        finding.node,
        -RANK[finding.severity],
        key_text(finding.incident),
        key_text(finding.key),
        finding.summary,
        repr(sorted(finding.measures.items())),
    )


def plain(value: object) -> object:
    """NumPy's numbers and read-only mappings as Python's own, for the encoder."""
    if isinstance(value, Mapping):
        return dict(value)
    item = getattr(value, "item", None)
    if item is None:
        raise TypeError(f"{type(value).__name__} in a finding cannot be stored")
    return cast("object", item())
