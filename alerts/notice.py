"""Stored changes of incidents, and notices: one for each receiver to which a change is sent."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

from alerts.incident import BY_OPERATOR, Incident, IncidentChange, Reason
from alerts.render import as_object
from watchdog.core.finding import Severity

EVENT_TYPES = (
    "incident.opened",
    "incident.updated",
    "incident.escalated",
    "incident.acknowledged",
    "incident.resolved",
)
CASE_EVENT_TYPES = (
    "case.opened",
    "case.severity",
    "case.stage",
    "case.merged",
    "case.acknowledged",
    "case.resolved",
    "case.reopened",
    "case.reminder",
    "case.escalated",
    "case.updated",
)
MERGED = "incidents.opened"
"""The event type of a notice that names many openings of one rule; it goes to receivers of `incident.opened`."""
NOTICE_TYPES = (*EVENT_TYPES, MERGED, *CASE_EVENT_TYPES)

_TYPES: Mapping[Reason, str] = {
    Reason.OPENED: "incident.opened",
    Reason.REOPENED: "incident.opened",
    Reason.UPDATED: "incident.updated",
    Reason.MEMBER_JOINED: "incident.updated",
    Reason.MEMBER_CLEARED: "incident.updated",
    Reason.CLEARED: "incident.updated",
    Reason.ESCALATED: "incident.escalated",
    Reason.ACKNOWLEDGED: "incident.acknowledged",
    Reason.RESOLVED: "incident.resolved",
    Reason.RESOLVED_BY_OPERATOR: "incident.resolved",
    Reason.NODE_REMOVED: "incident.resolved",
}


@dataclass(frozen=True)
class ChangeRecord:
    """One change as it is stored: the incident after it, the change, and the rule's title.

    action: the id of the operator's action that made the change, 0 when findings or time made it. ValueError when the
    two do not fit: an operator's change without its action would be taken for another one.
    taken: every action up to this id was known to the book that made the change; the history shows newer ones on top.
    None: the book takes no actions (a replay), and what it says stands alone.
    """

    incident: Incident
    change: IncidentChange
    title: str
    action: int = 0
    taken: int | None = None

    def __post_init__(self) -> None:
        """Refuse a change whose key would collide with another's."""
        if (self.change.reason in BY_OPERATOR) != (self.action > 0):
            raise ValueError(f"change {self.change.reason.value!r} with action {self.action}: they do not fit")

    @cached_property
    def document(self) -> Mapping[str, object]:
        """The incident as `alerts.render.as_object` renders it, made once for history, outbox and live pages.

        It is shared and must not be changed. One thread uses a record at a time.
        """
        return as_object(self.incident, self.title)

    @property
    def key(self) -> int:
        """The change's name within its incident: its sequence, or the action's id below zero."""
        return -self.action if self.action else self.change.sequence


@dataclass(frozen=True, slots=True)
class Notice:
    """A row of the outbox: one change that is sent to one receiver.

    id: the webhook-id, see `notice_id`. created_ns: wall clock. body: the `data` object of the webhook, the incident
    as `alerts.render.as_object` gives it plus `url`; shared by all notices of one change, so never written to. case_id:
    the root of the case that it is about (`CaseLife.root`), whose body is that of `alerts.case.change`; incident_id is
    empty then.
    """

    id: str
    receiver: str
    incident_id: str
    type: str
    severity: Severity
    created_ns: int
    body: Mapping[str, object]
    case_id: str = ""

    @property
    def subject(self) -> str:
        """What it is about; the notices of one subject are sent in order."""
        return self.case_id or self.incident_id


def event_type(reason: Reason) -> str:
    """Return the event type of a change with this reason."""
    return _TYPES[reason]


def reasons_of(types: Collection[str]) -> list[Reason]:
    """Return the reasons whose changes have one of these event types."""
    return [reason for reason, type_ in _TYPES.items() if type_ in types]


def notice_id(record: ChangeRecord, receiver: str) -> str:
    """Return `msg_` and 32 hex digits: equal for the same change and receiver, in every run."""
    return _message_id(record.incident.id, record.key, receiver)


def case_event_id(type_: str, root: str, number: int, receiver: str) -> str:
    """Return the id of a notice of a case: equal for the same change and receiver, in every run.

    The type is part of it, as reminders and escalations have numbers of their own, and as a change after a kill may be
    another one when the rules were changed meanwhile.
    """
    return _message_id("case", root, type_, number, receiver)


def _message_id(*named: str | int) -> str:
    parts = json.dumps(named, ensure_ascii=True)
    return "msg_" + hashlib.blake2b(parts.encode("ascii"), digest_size=16, person=b"watchdog").hexdigest()
