"""Decides to which receivers each change of an incident or a case is sent, and why it is held back from the others."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from alerts.case.change import CaseChange, event_of
from alerts.case.house import HOUSE
from alerts.case.notice import CaseReason
from alerts.incident import RANK
from alerts.notice import ChangeRecord, Notice, case_event_id, event_type, notice_id
from alerts.routing import Receiver
from watchdog.core.finding import FLEET, Severity

UPDATED = event_of(CaseReason.UPDATED)
ENDINGS = frozenset({event_of(CaseReason.ACKNOWLEDGED), event_of(CaseReason.RESOLVED)})
"""Changes after which no one else need look at a case: those whom an escalation called must know."""


class HeldReason(StrEnum):
    """Why a change is not sent to a receiver. When several apply, the first in this order is named."""

    SANDBOX = "sandbox"  # the maturity of the rule, or of all rules of a case: judged, stored and shown, never sent
    BEFORE_START = "before_start"  # a first start reads the past, which is not notified
    DISABLED = "disabled"  # the receiver is switched off
    NODE = "node"  # the receiver has not asked for this node
    EVENTS = "events"  # the receiver has not subscribed to this type of event
    FLOOR = "floor"  # the severity is below the receiver's
    SILENCED = "silenced"  # an operator's silence matches what it is about
    ACKNOWLEDGED = "acknowledged"  # an operator works on it, and nothing new was added
    MAINTENANCE = "maintenance"  # a window of planned work
    INTERVAL = "interval"  # it waits for what may come with it, or for the end of the time between two notices
    RATE = "rate"  # it waits for the receiver's `rate_per_minute`
    MERGED = "merged"  # another notice reports it


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether one change is sent to one receiver. held: why not; None when it is sent.

    detail: explains the reason to an operator. place: of the key in the configuration that decides, such as
    `watchdog.yaml:12`; empty when no key does. type: the event type of a case's change; empty for incidents.
    """

    receiver: str
    held: HeldReason | None = None
    detail: str = ""
    place: str = ""
    type: str = ""

    @property
    def labels(self) -> tuple[str, str, str]:
        """Receiver, `sent` or `held`, and the reason (empty when sent), as `watchdog_decisions_total` counts it."""
        return self.receiver, "held" if self.held else "sent", self.held.value if self.held else ""


def decide(record: ChangeRecord, receivers: Sequence[Receiver]) -> list[Decision]:
    """Return one decision for each receiver about incidents, in their order; pure, so it is the same in every run.

    The writer's thread calls it for each change before the change is stored. Severity and event type are those of the
    change, not of the later incident that it may be stored with; the maturity is the rule's at its latest finding.
    """
    type_ = event_type(record.change.reason)
    facts = DecisionFacts(record.incident.maturity == "sandbox", record.incident.node, record.change.severity)
    return [held_back(facts, [type_], one) for one in receivers if one.about == "incidents"]


def notices(
    record: ChangeRecord, decisions: Sequence[Decision], url_of: Callable[[str], str | None], now_ns: int
) -> list[Notice]:
    """Return the notices of a change, one for each decision to send, in their order.

    url_of: returns the page of an incident, by its id. now_ns: wall clock. The body is shared by all of them. Its state
    and severity are the change's: several changes may be stored with one later incident.
    """
    receivers = [decision.receiver for decision in decisions if decision.held is None]
    if not receivers:
        return []
    change, id_ = record.change, record.incident.id
    body = {**record.document, "state": change.state.value, "severity": change.severity, "url": url_of(id_)}
    type_ = event_type(change.reason)
    return [
        Notice(notice_id(record, receiver), receiver, id_, type_, change.severity, now_ns, body)
        for receiver in receivers
    ]


@dataclass(frozen=True, slots=True)
class DecisionFacts:
    """What a decision rests on. held: a reason to hold it back from every receiver, with its words.

    Silences, acknowledgements and maintenance come in as `held`.
    """

    sandbox: bool
    node: str
    severity: Severity
    before_start: bool = False
    held: Decision | None = None


def held_back(facts: DecisionFacts, types: Sequence[str], receiver: Receiver) -> Decision:
    """Return the decision for a receiver on a change with these event types, the main one first."""
    wanted = next((one for one in types if one in receiver.events), types[0])

    def no(reason: HeldReason, detail: str, key: str = "") -> Decision:
        return Decision(receiver.name, reason, detail, receiver.place(key) if key else "", wanted)

    if facts.sandbox:
        return no(HeldReason.SANDBOX, "all its rules have the maturity sandbox")
    if facts.before_start:
        return no(HeldReason.BEFORE_START, "it happened before the first start, and the past is not notified")
    if not receiver.enabled:
        return no(HeldReason.DISABLED, "enabled: false", "enabled")
    if receiver.nodes and not _names(receiver, facts.node):
        return no(HeldReason.NODE, f"node {facts.node} is not in nodes: {', '.join(receiver.nodes)}", "nodes")
    if wanted not in receiver.events:
        return no(HeldReason.EVENTS, f"{wanted} is not in events: {', '.join(receiver.events)}", "events")
    if RANK[facts.severity] < RANK[receiver.severity]:
        return no(HeldReason.FLOOR, f"{facts.severity} is below severity: {receiver.severity}", "severity")
    if facts.held is not None:
        return replace(facts.held, receiver=receiver.name, type=wanted)
    return Decision(receiver.name, None, "", receiver.place(""), wanted)


def decide_case(
    change: CaseChange,
    receivers: Sequence[Receiver],
    held: Decision | None = None,
    escalated: Collection[str] = (),
) -> list[Decision]:
    """Return the decisions for each receiver about cases, in their order; pure.

    A notice may report several changes: it goes out as the first of them that the receiver has asked for. What else
    it reports has a decision of its own, held back as merged into that notice. An update is decided for those only that
    ask for updates: it says that a case grew, and happens all the time. held: a reason beside that of the change.
    escalated: receivers to which the case has escalated. They hear when someone takes it on and when it is over, though
    their `events` and `severity` leave that out.
    """
    types = [event_of(reason) for reason in change.reasons]
    if change.held is not None:
        held = Decision("", HeldReason(change.held.reason), change.held.detail, change.held.place)
    facts = DecisionFacts(change.sandbox, change.node, change.severity, change.before_start, held)
    decisions: list[Decision] = []
    for receiver in receivers:
        if receiver.name in escalated and ENDINGS.intersection(types):
            receiver = replace(receiver, events=(*receiver.events, *ENDINGS), severity="info")  # noqa: PLW2901
        if receiver.about != "cases" or (types == [UPDATED] and UPDATED not in receiver.events):
            continue
        main = held_back(facts, types, receiver)
        decisions.append(main)
        for other in types:
            if other != main.type:
                own = held_back(facts, [other], receiver)
                merged = f"reported by the notice {main.type}"
                decisions.append(own if own.held else replace(own, held=HeldReason.MERGED, detail=merged, place=""))
    return decisions


def case_notices(
    change: CaseChange, decisions: Sequence[Decision], url_of: Callable[[str], str | None], now_ns: int
) -> list[Notice]:
    """Return the notices of a change of a case, one for each decision to send. url_of: a case's page, by its id."""
    bodies: dict[str, Mapping[str, object]] = {}
    found: list[Notice] = []
    for one in decisions:
        if one.held is not None:
            continue
        if one.type not in bodies:
            bodies[one.type] = change.body(_reason_of(one.type), url_of(change.case_id))
        id_ = case_event_id(one.type, change.root, change.number, one.receiver)
        found.append(Notice(id_, one.receiver, "", one.type, change.severity, now_ns, bodies[one.type], change.root))
    return found


def _names(receiver: Receiver, node: str) -> bool:
    """Return whether a receiver has asked for a node; cases of the house go to those that ask for the fleet."""
    return node in receiver.nodes or (node == HOUSE and FLEET in receiver.nodes)


def _reason_of(type_: str) -> CaseReason:
    return next(reason for reason in CaseReason if event_of(reason) == type_)
