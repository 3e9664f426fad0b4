"""The state machine of single incidents: how findings, operators and time change them, each time with a reason."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Mapping

from alerts.fingerprint import key_text
from alerts.incident import RANK, IncidentChange, IncidentState, Policy, Reason
from alerts.incident_life import IncidentLife, member_label, opening_text
from alerts.incident_table import IncidentTable
from watchdog.core.durations import rough_duration
from watchdog.core.finding import OVERFLOW, Finding


class Timers:
    """When time alone changes an incident next. An entry that no longer fits its incident is skipped by `due`."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._heap: list[tuple[int, str]] = []

    def arm(self, life: IncidentLife) -> None:
        """Set the timer of an incident; call it after each change of its state or of its last clear."""
        next_ns = life.due_ns() if life.state is not IncidentState.RESOLVED else life.settles_ns(self._policy)
        if next_ns is not None:
            heapq.heappush(self._heap, (next_ns, life.fingerprint))

    def due(self, now_ns: int) -> Iterator[tuple[int, str]]:
        """Take out the entries up to `now_ns` in order (time, fingerprint), those armed meanwhile included."""
        while self._heap and self._heap[0][0] <= now_ns:
            yield heapq.heappop(self._heap)

    def reset(self) -> None:
        """Drop all entries, before time runs again from an earlier moment."""
        self._heap = []


class Transitions:
    """Changes incidents of one table and arms their timers. `IncidentBook` calls it in the order of event time.

    `counters` gets unmatched (a clear for a key that does not fire) and overflow (a finding put under the rule's
    common incident, as the rule has `Policy.open_per_rule` open incidents).
    """

    def __init__(self, table: IncidentTable, policy: Policy, counters: Counter[str]) -> None:
        self.timers = Timers(policy)
        self._table, self._policy, self._counters = table, policy, counters

    def fire(self, finding: Finding) -> list[IncidentChange]:
        """Take a finding that fires, updates or escalates: open, join, escalate, update or reopen an incident."""
        policy, member = self._policy, key_text(finding.key)
        life = self._table.matching(finding, member)
        if life is None and self._table.open[finding.node, finding.rule] >= policy.open_per_rule:
            self._counters["overflow"] += 1
            life = self._table.common(finding)
            if life is None:
                return self._opened(finding, member, OVERFLOW)
        if life is None or self._is_over(life, finding, member):
            return self._opened(finding, member, finding.incident)
        time_ns = max(finding.time_ns, life.resolved_ns or life.opened_ns)
        joined = life.join(finding, member, policy)
        life.absorb(finding, policy)
        if life.state is IncidentState.RESOLVED:
            again = finding.change == "fire" and member in life.firing
            return self._reopened(life, finding, time_ns) if joined or again else []
        changes = []
        if joined:
            changes.append(life.step(time_ns, Reason.MEMBER_JOINED, member_label(finding), policy))
        changes += self._escalated(life, finding, time_ns)
        return changes or [life.step(time_ns, Reason.UPDATED, finding.summary, policy)]

    def clear(self, finding: Finding) -> list[IncidentChange]:
        """Take a finding that clears a key; the last one starts the wait of `resolve_after`."""
        member = key_text(finding.key)
        life = self._table.matching(finding, member)
        if life is None:
            self._counters["unmatched"] += 1
            return []
        left = life.leave(finding, member)
        self._counters["unmatched"] += not left
        life.absorb(finding, self._policy)
        if not left:
            return []
        self.timers.arm(life)
        if life.state is IncidentState.RESOLVED:
            return []
        reason = Reason.MEMBER_CLEARED if life.firing else Reason.CLEARED
        time_ns = max(finding.time_ns, life.opened_ns)
        return [life.step(time_ns, reason, member_label(finding), self._policy)]

    def clear_all(self, life: IncidentLife, quiet_ns: int, cleared_ns: int, text: str) -> list[IncidentChange]:
        """Clear every key of an incident without a finding. quiet_ns: a fire after it counts as new."""
        life.quiet.update(dict.fromkeys(life.firing, quiet_ns))
        life.firing.clear()
        life.cleared_ns = max(cleared_ns, life.opened_ns)
        self.timers.arm(life)
        if life.state is IncidentState.RESOLVED:
            return []
        return [life.step(life.cleared_ns, Reason.CLEARED, text, self._policy)]

    def acknowledge(self, life: IncidentLife, operator: str, time_ns: int) -> list[IncidentChange]:
        """Note that an operator has taken an incident that is not resolved; a second operator may take it over."""
        if life.acknowledged_by == operator:
            return []
        life.state, life.acknowledged_by = IncidentState.ACKNOWLEDGED, operator
        return [life.step(time_ns, Reason.ACKNOWLEDGED, f"by {operator}", self._policy)]

    def resolve(self, life: IncidentLife, time_ns: int, reason: Reason, text: str) -> IncidentChange:
        """Resolve an incident that is not resolved yet."""
        life.state, life.resolved_ns = IncidentState.RESOLVED, time_ns
        self._table.open[life.node, life.rule] -= 1
        self.timers.arm(life)
        return life.step(time_ns, reason, text, self._policy)

    def expire(self, now_ns: int) -> list[IncidentChange]:
        """Resolve what has been quiet for its `resolve_after` by `now_ns`, and settle what can no longer reopen."""
        changes = []
        for time_ns, name in self.timers.due(now_ns):
            life = self._table.live.get(name)
            if life is None:
                continue
            if life.due_ns() == time_ns:
                text = f"quiet for {rough_duration(life.resolve_after_ns)}"
                changes.append(self.resolve(life, time_ns, Reason.RESOLVED, text))
            elif not life.firing and life.settles_ns(self._policy) == time_ns:
                self._table.settle(life)
        return changes

    def _opened(self, finding: Finding, member: str, key: Mapping[str, str]) -> list[IncidentChange]:
        life = self._table.open_incident(finding, key)
        life.join(finding, member, self._policy)
        life.absorb(finding, self._policy)
        return [life.step(max(finding.time_ns, life.opened_ns), Reason.OPENED, opening_text(finding), self._policy)]

    def _reopened(self, life: IncidentLife, finding: Finding, time_ns: int) -> list[IncidentChange]:
        life.state, life.resolved_ns, life.acknowledged_by = IncidentState.OPEN, None, None
        life.cleared_ns = None
        self._table.open[life.node, life.rule] += 1
        reopened = life.step(time_ns, Reason.REOPENED, opening_text(finding), self._policy)
        return [reopened, *self._escalated(life, finding, time_ns)]

    def _escalated(self, life: IncidentLife, finding: Finding, time_ns: int) -> list[IncidentChange]:
        if RANK[finding.severity] <= RANK[life.severity]:
            return []
        text = f"{life.severity} to {finding.severity}: {finding.summary}"
        life.severity = finding.severity
        return [life.step(time_ns, Reason.ESCALATED, text, self._policy)]

    def _is_over(self, life: IncidentLife, finding: Finding, member: str) -> bool:
        """Settle an incident that an operator resolved, whose keys never cleared, and that is too old to reopen."""
        settles_ns = life.settles_ns(self._policy)
        if settles_ns is None or finding.time_ns <= settles_ns or member in life.firing:
            return False
        self._table.settle(life)
        return True
