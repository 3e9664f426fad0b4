"""The incident book: takes findings, returns changes of incidents; a pure state machine in event time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from itertools import groupby
from operator import itemgetter

from alerts.book_record import NEVER_NS, BookRecord
from alerts.fingerprint import key_text
from alerts.incident import RANK, IncidentChange, IncidentState, Policy, Reason
from alerts.incident_table import IncidentError, IncidentTable
from alerts.transitions import Transitions
from watchdog.core.finding import Finding

END_NS = (1 << 63) - 1
Placed = Callable[[int, str, Finding | None], None]
"""Hears of each finding that was applied: its time, and the id of its incident. None: all of the incident is over."""


class IncidentBook:
    """The incidents of rules that share one event time; `alerts.books` keeps a book for each part.

    `apply` takes findings. Findings of one instant are held and applied together in a fixed order, so the order in
    which they arrive does not matter. They are applied when a later finding arrives or when `advance` passes their
    time, whichever comes first. `advance` also resolves: an incident whose members have all cleared is resolved once
    `resolve_after` has passed since the last clear. It reopens, with its id, when the same fingerprint fires again
    within `resolve_after` (at least `Policy.reopen_ns`) of that. Findings behind the book's time change numbers and
    members, never the past.

    table: the incidents. now_ns: the latest event time reached, `NEVER_NS` before the first. counters: findings, late
    (behind the book's time), unmatched (a clear for a key that does not fire), overflow (put under the rule's common
    incident), forgotten (settled incidents dropped at the cap). record: an earlier book's state, to continue exactly
    there; the book takes over the record's incidents. placed: hears where each finding went; None at first.
    """

    def __init__(self, policy: Policy | None = None, record: BookRecord | None = None) -> None:
        self.policy = policy or Policy()
        self.counters: Counter[str] = Counter()
        self.table = IncidentTable(self.policy, self.counters)
        self.now_ns = NEVER_NS
        self.placed: Placed | None = None
        self._transitions = Transitions(self.table, self.policy, self.counters)
        self._held: list[Finding] = []
        if record is not None:
            self._load(record)

    def apply(self, finding: Finding) -> list[IncidentChange]:
        """Take one finding. Return the changes of the instants that it completes: often none, see `advance`."""
        changes: list[IncidentChange] = []
        if self._held and finding.time_ns > self._held[-1].time_ns:
            changes = self._apply_held(finding.time_ns - 1)
        self._held.append(finding)
        return changes

    def advance(self, watermark_ns: int) -> list[IncidentChange]:
        """Apply the findings held up to the watermark, before which none is expected, and resolve what is due."""
        changes = self._apply_held(watermark_ns)
        changes += self._expire(watermark_ns)
        return changes

    def drain(self) -> list[IncidentChange]:
        """Apply every held finding at the end of the input; resolve only what is due at their times."""
        return self._apply_held(END_NS)

    def acknowledge(self, id_: str, operator: str, time_ns: int) -> list[IncidentChange]:
        """Note that an operator has taken the incident. IncidentError: it is unknown or resolved."""
        life = self.table.life(id_)
        if life.state is IncidentState.RESOLVED:
            raise IncidentError(f"incident {id_!r} is resolved: it cannot be acknowledged")
        return self._transitions.acknowledge(life, operator, time_ns)

    def resolve(self, id_: str, operator: str, time_ns: int) -> list[IncidentChange]:
        """Resolve at an operator's word; a new fire of a key reopens it. UnknownIncidentError: no such incident."""
        life = self.table.life(id_)
        if life.state is IncidentState.RESOLVED:
            return []
        time_ns = max(time_ns, life.opened_ns)
        self._place(time_ns, life.id, None)
        return [self._transitions.resolve(life, time_ns, Reason.RESOLVED_BY_OPERATOR, f"by {operator}")]

    def clear_others(self, kept: Collection[str]) -> list[IncidentChange]:
        """Clear everything that fires under rules not in `kept`: they were removed, or restart with empty state.

        A condition that still holds fires again and its incident continues; the others resolve after `resolve_after`.
        """
        others = [life for life in self.table.live.values() if life.firing and life.rule not in kept]
        for life in others:
            self._place(self.now_ns, life.id, None)
        return [
            change
            for life in others
            for change in self._transitions.clear_all(life, self.now_ns, self.now_ns, "the rules were changed")
        ]

    def remove_node(self, node: str) -> list[IncidentChange]:
        """Resolve all incidents of a node at the book's time: the service no longer watches it.

        Held findings of the node are dropped, so that none reopens an incident later.
        """
        self._held = [held for held in self._held if held.node != node]
        changes: list[IncidentChange] = []
        for life in [one for one in self.table.live.values() if one.node == node]:
            self._place(self.now_ns, life.id, None)
            life.quiet.update(dict.fromkeys(life.firing, self.now_ns))
            life.firing.clear()
            if life.state is not IncidentState.RESOLVED:
                time_ns = max(self.now_ns, life.opened_ns)
                life.cleared_ns = life.cleared_ns or time_ns
                changes.append(self._transitions.resolve(life, time_ns, Reason.NODE_REMOVED, "no longer watched"))
        return changes

    def rewind(self, now_ns: int, *, clears: bool = True) -> list[IncidentChange]:
        """Restart time at `now_ns`, as a clock was ahead and has been set back.

        Incidents keep no later time: they could not resolve before time had caught up. clears: everything that fires is
        cleared as in `clear_others`; a condition that still holds fires again and its incident continues.
        """
        changes = self._apply_held(END_NS)
        self.now_ns = now_ns
        self._transitions.timers.reset()
        for life in list(self.table.live.values()):
            life.rewind(now_ns)
            if clears and life.firing:
                self._place(now_ns, life.id, None)
                changes += self._transitions.clear_all(life, now_ns - 1, now_ns, "a clock was set back")
            else:
                self._transitions.timers.arm(life)
        return changes

    def record(self) -> BookRecord:
        """Return the whole state for a snapshot; the record shares its incidents with this book."""
        return BookRecord(
            now_ns=self.now_ns,
            settled=list(self.table.settled.values()),
            live=list(self.table.live.values()),
            pending=list(self._held),
            counters=dict(self.counters),
        )

    def _load(self, record: BookRecord) -> None:
        self.now_ns, self._held = record.now_ns, record.pending
        self.counters.update(record.counters)
        self.table.load(record.settled, record.live)
        for life in record.live:
            self._transitions.timers.arm(life)

    def _apply_held(self, until_ns: int) -> list[IncidentChange]:
        """Apply the held findings up to `until_ns` in the order of time, and within one instant in a fixed order."""
        ready = [held for held in self._held if held.time_ns <= until_ns]
        if not ready:
            return []
        if len(ready) < len(self._held):
            self._held = [held for held in self._held if held.time_ns > until_ns]
        else:
            self._held = []
        if len(ready) > 1:
            ready = _in_order(ready)
        changes: list[IncidentChange] = []
        for finding in ready:
            changes += self._expire(finding.time_ns)
            self.counters["findings"] += 1
            self.counters["late"] += finding.time_ns < self.now_ns
            clears = finding.change == "clear"
            changes += self._transitions.clear(finding) if clears else self._transitions.fire(finding)
            life = self.table.matching(finding, key_text(finding.key)) if self.placed is not None else None
            if life is not None:
                self._place(finding.time_ns, life.id, finding)
        return changes

    def _place(self, time_ns: int, incident: str, finding: Finding | None) -> None:
        if self.placed is not None:
            self.placed(time_ns, incident, finding)

    def _expire(self, now_ns: int) -> list[IncidentChange]:
        self.now_ns = max(self.now_ns, now_ns)
        return self._transitions.expire(now_ns)


def _in_order(findings: list[Finding]) -> list[Finding]:
    """Order by time, then as `_order` says; texts that cost much are compared only where all else is equal."""
    ordered = sorted(((*_order(finding), finding) for finding in findings), key=itemgetter(slice(-1)))
    alike = groupby(ordered, key=itemgetter(slice(-1)))
    groups = ([finding for *_, finding in group] for _, group in alike)
    return [one for group in groups for one in (sorted(group, key=_last_order) if len(group) > 1 else group)]


def _order(finding: Finding) -> tuple[int, bool, str, str, int, str, str]:
    """Return the order of findings of one instant: fires before clears, the worst first, then by text."""
    return (
        finding.time_ns,
        finding.change == "clear",
        finding.rule,
        finding.node,
        -RANK[finding.severity],
        key_text(finding.incident),
        key_text(finding.key),
    )


def _last_order(finding: Finding) -> tuple[str, str]:
    return finding.summary, repr(sorted(finding.measures.items()))
