"""Incidents as others see them: states, named reasons, changes, and the immutable picture of one incident."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from watchdog.core.durations import MINUTE_NS
from watchdog.core.finding import SEVERITIES, Attack, Evidence, Maturity, Severity

RANK: Mapping[str, int] = {severity: rank for rank, severity in enumerate(SEVERITIES)}


class IncidentState(StrEnum):
    """Where an incident is in its life."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


class Reason(StrEnum):
    """Why an incident changed."""

    OPENED = "opened"
    UPDATED = "updated"
    MEMBER_JOINED = "member joined"
    MEMBER_CLEARED = "member cleared"
    ESCALATED = "escalated"
    CLEARED = "cleared"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"
    RESOLVED_BY_OPERATOR = "resolved by operator"
    NODE_REMOVED = "node removed"
    REOPENED = "reopened"


REPEATABLE = frozenset({Reason.UPDATED, Reason.MEMBER_JOINED, Reason.MEMBER_CLEARED})
BY_OPERATOR = frozenset({Reason.ACKNOWLEDGED, Reason.RESOLVED_BY_OPERATOR})


class IncidentChange(msgspec.Struct, frozen=True, gc=False):
    """One step in the life of one incident, as the book reports it; times are event time.

    sequence: 1, 2, 3 ... over the steps that findings and time make; acted: 1, 2, ... over those of operators.
    A step carries both counts as they stand after it, so one of the two has just grown. They are separate
    because an operator's action may arrive at another event time when a killed run resumes: the numbers of all other
    steps must not shift then.
    """

    id: str
    fingerprint: str
    time_ns: int
    reason: Reason
    text: str
    state: IncidentState
    severity: Severity
    sequence: int
    acted: int = 0


class HistoryEntry(msgspec.Struct, frozen=True, gc=False):
    """A stored change. Like steps in a row are one entry: `count` of them, from `time_ns` to `until_ns`."""

    time_ns: int
    until_ns: int
    reason: Reason
    text: str
    count: int = 1


@dataclass(frozen=True, slots=True)
class Policy:
    """Bounds and waits of a book; every bound has a counter that says how often it was met.

    members: keys followed in one incident. tracked/listed entities: weighed / shown. history: stored
    changes (the first and the last half are kept). reopen_ns: least time after resolution in which a
    new finding reopens the incident instead of opening another (a longer `resolve_after` wins).
    open_per_rule: open incidents of one rule on one node; further groups share one incident with the
    key `OVERFLOW`. resolved: settled incidents remembered, the longest settled are forgotten first.
    """

    members: int = 10_000
    listed_members: int = 50
    tracked_entities: int = 2_000
    listed_entities: int = 200
    history: int = 200
    reopen_ns: int = 10 * MINUTE_NS
    open_per_rule: int = 1_000
    resolved: int = 100_000


@dataclass(frozen=True, slots=True)
class Incident:
    """One incident at one moment.

    resolved_ns is the event time at which the resolution was known: the last clear plus the rule's
    `resolve_after` (or the operator's time); None while open. cleared_ns: when the last member
    cleared, None while one fires. measures and summary are those of the worst finding (highest
    severity, then latest), peak holds the largest value of each measure. members counts all keys
    that ever fired, firing those that do now. completeness and watched are the least of the findings', 0 to 1; watched
    is None for an incident of a version that did not have it; so is maturity, the rule's at the latest finding.
    """

    id: str
    fingerprint: str
    rule: str
    attack: Attack
    severity: Severity
    state: IncidentState
    node: str
    key: Mapping[str, str]
    opened_ns: int
    updated_ns: int
    cleared_ns: int | None
    resolved_ns: int | None
    acknowledged_by: str | None
    entities: tuple[str, ...]
    entities_beyond: int
    summary: str
    measures: Mapping[str, int | float]
    peak: Mapping[str, int | float]
    findings: int
    members: int
    firing: int
    members_beyond: int
    listed_members: tuple[Mapping[str, str], ...]
    evidence: tuple[Evidence, ...]
    completeness: float
    watched: float | None
    history: tuple[HistoryEntry, ...]
    history_beyond: int
    maturity: Maturity | None = None
