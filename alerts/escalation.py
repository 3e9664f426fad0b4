"""When people hear again of a case that no one has taken on: reminders, and escalations to others.

Both count by the wall clock, from the moment at which the change was stored that people are to react to: an attack does
not wait for the event time of an input that hangs. Pure: a `CaseClock` (stored with the case), what the case is now,
the plan of the configuration and the time give what is due. Everything that was given out is noted in the clock in the
transaction that stores its notices, so whatever ends the service, each is sent once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from alerts.case.change import CaseChange, event_of
from alerts.case.notice import CaseReason
from alerts.decide import Decision, DecisionFacts, held_back
from alerts.incident import RANK, IncidentState
from alerts.routing import Receiver
from watchdog.core.durations import rough_duration
from watchdog.core.finding import SEVERITIES, Severity

MOST_ESCALATIONS: Final = 32  # entries of a configuration
MOST_TO: Final = 16  # receivers of one entry
LOWEST: Final[Severity] = "info"
OPEN: Final = IncidentState.OPEN.value
ACKNOWLEDGED: Final = IncidentState.ACKNOWLEDGED.value
RESOLVED: Final = IncidentState.RESOLVED.value
Escalated = tuple[str, str, int]
"""An escalation that a receiver got: the severity of its entry, the receiver, and which of its entries, from 1."""


@dataclass(frozen=True, slots=True)
class Escalation:
    """One entry of `escalation`: notifies `to` of a case that is still open and unacknowledged after a time.

    to: names of receivers. place: in the configuration.
    """

    severity: Severity
    after_ns: int
    to: tuple[str, ...]
    place: str = ""


@dataclass(frozen=True, slots=True)
class AttentionPlan:
    """What the configuration says of both. reminders: ns between two, by severity; each is for those above, too."""

    escalations: tuple[Escalation, ...] = ()
    reminders: Mapping[Severity, int] = field(default_factory=lambda: MappingProxyType({}))

    def every_ns(self, severity: Severity) -> int | None:
        """Return the time between two reminders of a case of this severity; None: there are none."""
        named = [one for one in self.reminders if RANK[one] <= RANK[severity]]
        return self.reminders[max(named, key=RANK.__getitem__)] if named else None


@dataclass(frozen=True, slots=True)
class CaseClock:
    """The clock of a case: what is known of the attention to it; stored by its root. Times are wall clock, ns.

    number: of the latest change that it has. state: of the case, as of that change. since: when the case was first
    reported at a severity or above; a cleared acknowledgement or a reopening resets it. heard_ns: when
    people last heard of it. reminders, escalations: how many there were, which numbers the next one. escalated: what
    was sent since `since` began. held: why what is due was last held back, by `TimedNotice.name`: it is stored once.
    drill: of a drill, whose escalations do not wait. called: receivers that got an escalation before `since` began and
    have yet to hear that the case is over.
    """

    number: int = 0
    state: str = OPEN
    since: dict[str, int] = field(default_factory=dict)
    heard_ns: int = 0
    reminders: int = 0
    escalations: int = 0
    escalated: tuple[Escalated, ...] = ()
    held: dict[str, str] = field(default_factory=dict)
    drill: bool = False
    called: tuple[str, ...] = ()

    @property
    def owed(self) -> frozenset[str]:
        """The receivers that must hear when someone acknowledges the case, and when it is over."""
        return frozenset((*self.called, *(receiver for _, receiver, _ in self.escalated)))


@dataclass(frozen=True, slots=True)
class CaseNow:
    """A case as it is stored now, with what operators did. firing: whether a claim of it fires."""

    state: str
    severity: Severity
    firing: bool


@dataclass(frozen=True, slots=True)
class TimedNotice:
    """A reminder or an escalation that is due. number: counts those of its type that were sent, by root, from 1.

    to: receivers that get an escalation whatever their `events` and `severity`, each with the mark that is noted once
    it is sent. waited_ns: since people heard of the case. place: in the configuration.
    """

    reason: CaseReason
    number: int
    severity: Severity
    waited_ns: int
    to: Mapping[str, Escalated] = field(default_factory=lambda: MappingProxyType({}))
    place: str = ""

    @property
    def type(self) -> str:
        """The type of the event."""
        return event_of(self.reason)

    def name(self, receiver: str) -> str:
        """Return what is due for a receiver, as `CaseClock.held` has it."""
        mark = self.to.get(receiver)
        return f"{self.type} {receiver}" + ("" if mark is None else f" {mark[0]} {mark[2]}")


def noted(clock: CaseClock | None, change: CaseChange, now_ns: int, *, drill: bool = False) -> CaseClock | None:
    """Return the clock after a change that is being stored; None while people need not have heard of the case.

    A change that was noted before (the service was killed and repeats it) changes nothing.
    """
    if change.before_start or change.sandbox or (change.held is not None and clock is None):
        return clock
    before = clock or CaseClock(drill=drill)
    if change.number <= before.number:
        return clock
    state = str(change.document["state"])
    after = replace(before, number=change.number, state=state)
    if before.state != OPEN == state:  # also while a window of maintenance holds the notice of it back
        owed = () if before.state == RESOLVED else tuple(sorted(before.owed))
        after = replace(after, since={}, escalated=(), held={}, called=owed)
    if change.held is not None or state != OPEN or change.reasons == (CaseReason.UPDATED,):
        return after
    reached = {one: now_ns for one in SEVERITIES if RANK[one] <= RANK[change.severity]}
    return replace(after, since=reached | after.since, heard_ns=max(after.heard_ns, now_ns))


def joined(clock: CaseClock | None, merged: Sequence[CaseClock], change: CaseChange) -> CaseClock | None:
    """Return the clock after a change that reports cases that became part of this one. merged: the clocks of those.

    What was sent of them was sent of this case: no one is called twice, and all who were called hear the end. A case
    of which no one has heard so far counts on as the one that people knew first.
    """
    if not merged:
        return clock
    if clock is None:
        first = min(merged, key=lambda one: min(one.since.values(), default=one.heard_ns))
        clock = replace(first, number=change.number, state=str(change.document["state"]))
    escalated = dict.fromkeys((*clock.escalated, *(mark for one in merged for mark in one.escalated)))
    called = {*clock.called, *(name for one in merged for name in one.called)}
    return replace(clock, escalated=tuple(escalated), called=tuple(sorted(called)))


def due(clock: CaseClock, case: CaseNow, plan: AttentionPlan, now_ns: int) -> list[TimedNotice]:
    """Return what is due: escalations in the order of the configuration, then at most one reminder.

    What fell due several times while the service was down is due once. An acknowledged case has both, to be held back;
    a resolved one has none. While the clock of the machine is behind what is noted, nothing is due.
    """
    if case.state not in (OPEN, ACKNOWLEDGED):
        return []
    found = _escalations(clock, case, plan, now_ns)
    every_ns = plan.every_ns(case.severity)
    reminds = every_ns is not None and clock.heard_ns and case.firing and not clock.drill
    if reminds and now_ns - clock.heard_ns >= (every_ns or 0):
        waited_ns = now_ns - min(clock.since.values(), default=clock.heard_ns)
        found.append(TimedNotice(CaseReason.REMINDER, clock.reminders + 1, case.severity, waited_ns))
    return found


def _escalations(clock: CaseClock, case: CaseNow, plan: AttentionPlan, now_ns: int) -> list[TimedNotice]:
    """Return the entries that are due, each for those of its receivers that have not got it.

    An entry is known by its severity and by its place among the entries of this severity for a receiver, by time: a
    change of `after` escalates nothing again.
    """
    steps: Counter[tuple[str, str]] = Counter()
    known, number = set(clock.escalated), clock.escalations
    found: list[TimedNotice] = []
    for one in sorted(plan.escalations, key=lambda one: one.after_ns):
        marks: dict[str, Escalated] = {}
        for name in one.to:
            steps[one.severity, name] += 1
            marks[name] = (one.severity, name, steps[one.severity, name])
        since_ns = clock.since.get(one.severity)
        waits = {name: mark for name, mark in marks.items() if mark not in known}
        if since_ns is None or not waits or RANK[case.severity] < RANK[one.severity]:
            continue
        if clock.drill or now_ns - since_ns >= one.after_ns:
            number += 1
            found.append(
                TimedNotice(CaseReason.ESCALATED, number, case.severity, max(now_ns - since_ns, 0), waits, one.place)
            )
    return found


def decide_timed(one: TimedNotice, facts: DecisionFacts, receivers: Sequence[Receiver]) -> list[Decision]:
    """Return the decision for each receiver that a timed notice concerns, in their order.

    A reminder concerns all that hear of cases. An escalation goes to those that it names though they ask for neither
    this event nor this severity: that is its purpose. `enabled: false` and `nodes` hold it back from them as well.
    Others hear of it when their `events` have it.
    """
    found: list[Decision] = []
    for receiver in receivers:
        if receiver.about != "cases":
            continue
        if receiver.name in one.to:
            named = replace(receiver, events=(one.type,), severity=LOWEST)
            decision = held_back(facts, [one.type], named)
            found.append(decision if decision.held else replace(decision, place=one.place))
        elif one.reason is CaseReason.REMINDER or one.type in receiver.events:
            found.append(held_back(facts, [one.type], receiver))
    return found


def news(clock: CaseClock, one: TimedNotice, decisions: Sequence[Decision]) -> list[Decision]:
    """Return the decisions to store: what is sent, and what is held back for another reason than before."""
    return [
        decision
        for decision in decisions
        if decision.held is None or clock.held.get(one.name(decision.receiver)) != decision.held.value
    ]


def given(clock: CaseClock, one: TimedNotice, decisions: Sequence[Decision], now_ns: int) -> CaseClock:
    """Return the clock after these decisions were stored with their notices."""
    held = dict(clock.held)
    sent: list[str] = []
    for decision in decisions:
        name = one.name(decision.receiver)
        if decision.held is None:
            sent.append(decision.receiver)
            held.pop(name, None)
        else:
            held[name] = decision.held.value
    after = replace(clock, held=held)
    if not sent:
        return after
    if one.reason is CaseReason.REMINDER:
        return replace(after, reminders=one.number, heard_ns=now_ns)
    marks = tuple(one.to[name] for name in sent if name in one.to)
    return replace(after, escalations=one.number, escalated=(*clock.escalated, *marks))


def shifted(clock: CaseClock, step_ns: int) -> CaseClock:
    """Return a clock moved along with the machine's, which was set by so much while the service watched it."""
    since = {severity: at_ns + step_ns for severity, at_ns in clock.since.items()}
    return replace(clock, since=since, heard_ns=clock.heard_ns + step_ns if clock.heard_ns else 0)


def not_ahead(clock: CaseClock, now_ns: int) -> CaseClock:
    """Return a clock without times of the future: the machine's was set back while the service was down."""
    since = {severity: min(at_ns, now_ns) for severity, at_ns in clock.since.items()}
    return replace(clock, since=since, heard_ns=min(clock.heard_ns, now_ns))


def waited_text(one: TimedNotice) -> str:
    """Return why it was made, for people."""
    return f"not acknowledged for {rough_duration(one.waited_ns)}"
