"""The life of one incident: the state that a book keeps of it, and how a finding changes it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from alerts.fingerprint import fingerprint, incident_id
from alerts.gathered import Exhibits, Involvement, key_entities
from alerts.incident import (
    BY_OPERATOR,
    RANK,
    REPEATABLE,
    HistoryEntry,
    Incident,
    IncidentChange,
    IncidentState,
    Policy,
    Reason,
)
from watchdog.core.durations import SECOND_NS, rough_duration
from watchdog.core.finding import OVERFLOW, Attack, Finding, Maturity, Severity

NAMELESS = frozenset({"boot", "boot_ns", "node", "source"})
NOUNS = (  # what members are called, by the first of these fields that tells them apart
    ("peer_addr", "peers"),
    ("peer", "peers"),
    ("conn", "connections"),
    ("address", "addresses"),
    ("subnet", "subnets"),
    ("netblock", "netblocks"),
    ("netgroup", "netgroups"),
    ("asn", "ASNs"),
)


@dataclass(slots=True)
class IncidentLife:
    """The mutable side of one incident. Members are keys as text with the time of their last finding."""

    id: str
    fingerprint: str
    rule: str
    attack: Attack
    node: str
    key: Mapping[str, str]
    opened_ns: int
    severity: Severity
    state: IncidentState = IncidentState.OPEN
    updated_ns: int = 0
    cleared_ns: int | None = None
    resolved_ns: int | None = None
    acknowledged_by: str | None = None
    resolve_after_ns: int = 0
    evidence_limit: int = 0
    worst: tuple[int, int] = (-1, 0)
    summary: str = ""
    measures: dict[str, int | float] = field(default_factory=dict)
    peak: dict[str, int | float] = field(default_factory=dict)
    findings: int = 0
    completeness: float = 1.0
    watched: float | None = None
    members: int = 0
    members_beyond: int = 0
    nouns: str = "members"
    firing: dict[str, int] = field(default_factory=dict)
    quiet: dict[str, int] = field(default_factory=dict)  # the one that cleared first comes first
    involved: Involvement = field(default_factory=Involvement)
    exhibits: Exhibits = field(default_factory=Exhibits)
    first_steps: list[HistoryEntry] = field(default_factory=list)
    last_steps: list[HistoryEntry] = field(default_factory=list)
    history_beyond: int = 0
    sequence: int = 0
    acted: int = 0
    maturity: Maturity | None = None

    def absorb(self, finding: Finding, policy: Policy) -> None:
        """Take in numbers, names and evidence of a finding whatever it changes."""
        self.findings += 1
        self.maturity = finding.maturity or self.maturity
        self.updated_ns = max(self.updated_ns, finding.time_ns)
        self.completeness = min(self.completeness, finding.completeness)
        if self.watched is not None:
            self.watched = min(self.watched, finding.watched)
        self.resolve_after_ns = max(self.resolve_after_ns, finding.resolve_after_ns)
        self.evidence_limit = max(self.evidence_limit, finding.evidence_limit)
        self.exhibits.add(finding.evidence, self.opened_ns, self.evidence_limit)
        if finding.change == "clear":
            return
        own = key_entities(finding.incident)
        names = (*own, *(name for name in finding.entities if name not in own)) if own else finding.entities
        self.involved.add(names, policy.tracked_entities)
        for name, value in finding.measures.items():
            if not math.isnan(value) and value >= self.peak.get(name, value):
                self.peak[name] = value
        weight = (RANK[finding.severity], finding.time_ns)
        if weight > self.worst:
            self.worst, self.summary, self.measures = weight, finding.summary, dict(finding.measures)
            self.nouns = member_nouns(finding)

    def join(self, finding: Finding, member: str, policy: Policy) -> bool:
        """Note that a key fires; True when it did not before. Beyond the cap the longest quiet key makes room."""
        self.members += finding.stands_for
        self.members_beyond += finding.stands_for
        if member in self.firing:
            self.firing[member] = max(self.firing[member], finding.time_ns)
            return False
        cleared_ns = self.quiet.get(member)
        if cleared_ns is not None and cleared_ns >= finding.time_ns:
            return False  # late: what it says was over before the clear that is known
        if cleared_ns is not None:
            del self.quiet[member]
        elif not finding.stands_for:
            self.members += not (finding.counted and self.key == OVERFLOW)
            if len(self.firing) + len(self.quiet) >= policy.members:
                self.members_beyond += 1
                if not self.quiet:
                    return False
                del self.quiet[next(iter(self.quiet))]
        self.firing[member] = finding.time_ns
        self.cleared_ns = None
        return True

    def leave(self, finding: Finding, member: str) -> bool:
        """Note that a key cleared; False when it did not fire or when the clear is older than its last fire."""
        if self.firing.get(member, finding.time_ns + 1) > finding.time_ns:
            return False
        del self.firing[member]
        self.quiet[member] = finding.time_ns
        if not self.firing:
            self.cleared_ns = max(finding.time_ns, self.opened_ns)
        return True

    def due_ns(self) -> int | None:
        """Return when the incident resolves if nothing more happens; None while a member fires or once resolved."""
        if self.state is IncidentState.RESOLVED or self.cleared_ns is None:
            return None
        return self.cleared_ns + self.resolve_after_ns

    def settles_ns(self, policy: Policy) -> int | None:
        """Return until when a new finding reopens a resolved incident; None while it is not resolved."""
        if self.resolved_ns is None:
            return None
        return self.resolved_ns + max(self.resolve_after_ns, policy.reopen_ns)

    def step(self, time_ns: int, reason: Reason, text: str, policy: Policy) -> IncidentChange:
        """Store one change with its reason and return it. Time never runs backwards within an incident."""
        self.updated_ns = max(self.updated_ns, time_ns)
        self._store(HistoryEntry(time_ns, time_ns, reason, text), policy.history)
        self.sequence += reason not in BY_OPERATOR
        self.acted += reason in BY_OPERATOR
        counts = (self.sequence, self.acted)
        return IncidentChange(self.id, self.fingerprint, time_ns, reason, text, self.state, self.severity, *counts)

    def _store(self, entry: HistoryEntry, limit: int) -> None:
        half = max(limit // 2, 1)
        steps = self.first_steps if len(self.first_steps) < half and not self.last_steps else self.last_steps
        latest = (self.last_steps or self.first_steps)[-1:]
        if latest and latest[0].reason is entry.reason and entry.reason in REPEATABLE:
            known = latest[0]
            until_ns = max(known.until_ns, entry.until_ns)
            joined = HistoryEntry(known.time_ns, until_ns, known.reason, known.text, known.count + 1)
            (self.last_steps or self.first_steps)[-1] = joined
            return
        steps.append(entry)
        if len(self.last_steps) > half:
            del self.last_steps[0]
            self.history_beyond += 1

    def rewind(self, now_ns: int) -> None:
        """Cap all times at `now_ns`. History and evidence keep theirs."""
        self.opened_ns, self.updated_ns = min(self.opened_ns, now_ns), min(self.updated_ns, now_ns)
        self.cleared_ns = None if self.cleared_ns is None else min(self.cleared_ns, now_ns)
        self.resolved_ns = None if self.resolved_ns is None else min(self.resolved_ns, now_ns)
        self.worst = (self.worst[0], min(self.worst[1], now_ns))
        self.firing = {member: min(time_ns, now_ns) for member, time_ns in self.firing.items()}
        self.quiet = {member: min(time_ns, now_ns - 1) for member, time_ns in self.quiet.items()}

    def _full_summary(self) -> str:
        """Return the worst finding's summary, with the number of members in front when there are several."""
        if self.members < 2:
            return self.summary
        group = ", ".join(value for name, value in sorted(self.key.items()) if name not in NAMELESS)
        return f"{self.members} {self.nouns}{f' of {group}' if group else ''}: {self.summary}"

    def picture(self, policy: Policy) -> Incident:
        """Return the incident at this moment."""
        entities = self.involved.ordered()
        members = sorted(self.firing) or list(self.quiet)
        return Incident(
            **{name: getattr(self, name) for name in SAME_IN_PICTURE},
            key=dict(self.key),
            entities=tuple(entities[: policy.listed_entities]),
            entities_beyond=self.involved.beyond + max(len(entities) - policy.listed_entities, 0),
            summary=self._full_summary(),
            measures=dict(self.measures),
            peak=dict(self.peak),
            firing=len(self.firing),
            listed_members=tuple(json.loads(member) for member in members[: policy.listed_members]),
            evidence=self.exhibits.shown(self.evidence_limit),
            history=(*self.first_steps, *self.last_steps),
        )


SAME_IN_PICTURE = (
    "id",
    "fingerprint",
    "rule",
    "attack",
    "severity",
    "state",
    "node",
    "opened_ns",
    "updated_ns",
    "cleared_ns",
    "resolved_ns",
    "acknowledged_by",
    "findings",
    "members",
    "members_beyond",
    "completeness",
    "watched",
    "history_beyond",
    "maturity",
)
"""Fields of `IncidentLife` that its picture shows unchanged."""


def new_life(finding: Finding, key: Mapping[str, str]) -> IncidentLife:
    """Return a new incident under `key`: the finding's own incident key, or `OVERFLOW`."""
    return IncidentLife(
        id=incident_id(finding.rule, finding.node, key, finding.time_ns),
        fingerprint=fingerprint(finding.rule, finding.node, key),
        rule=finding.rule,
        attack=finding.attack,
        node=finding.node,
        key=dict(key),
        opened_ns=finding.time_ns,
        severity=finding.severity,
        watched=finding.watched,
    )


def opening_text(finding: Finding) -> str:
    """Return why an incident opens, or opens again: how long the condition held, from the finding's own times."""
    held_ns = finding.time_ns - finding.since_ns
    return f"condition held for {rough_duration(held_ns)}" if held_ns >= SECOND_NS else "condition met"


def member_label(finding: Finding) -> str:
    """Return the label that distinguishes this key from the others of its incident."""
    own = [value for name, value in finding.key.items() if name not in finding.incident and name not in NAMELESS]
    return ", ".join(own) or ", ".join(finding.incident.values()) or finding.rule


def member_nouns(finding: Finding) -> str:
    """Return the plural noun for keys of this kind."""
    return next((noun for name, noun in NOUNS if name in finding.key and name not in finding.incident), "members")
