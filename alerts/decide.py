"""Decides for each change of an incident which receivers it is sent to, and names the reason where it is held back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from alerts.incident import RANK
from alerts.notice import ChangeRecord, Notice, event_type, notice_id
from alerts.routing import Receiver


class HeldReason(StrEnum):
    """Why a change is not sent to a receiver. When several apply, the first in this order is named."""

    SANDBOX = "sandbox"  # the rule's maturity: judged, stored and shown, never sent
    DISABLED = "disabled"  # the receiver is switched off
    EVENTS = "events"  # the receiver has not subscribed to this type of event
    FLOOR = "floor"  # the severity is below the receiver's


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether one change is sent to one receiver. held: why not; None when it is sent."""

    receiver: str
    held: HeldReason | None = None

    @property
    def labels(self) -> tuple[str, str, str]:
        """Receiver, `sent` or `held`, and the reason (empty when sent), as `watchdog_decisions_total` counts it."""
        return self.receiver, "held" if self.held else "sent", self.held.value if self.held else ""


def decide(record: ChangeRecord, receivers: Sequence[Receiver]) -> list[Decision]:
    """Return one decision for each receiver, in their order; pure, so it is the same in every run.

    The writer's thread calls it for each change before the change is stored. Severity and event type are those of the
    change, not of the later incident that it may be stored with; the maturity is the rule's at its latest finding.
    """
    return [Decision(receiver.name, _held(record, receiver)) for receiver in receivers]


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


def _held(record: ChangeRecord, receiver: Receiver) -> HeldReason | None:
    if record.incident.maturity == "sandbox":
        return HeldReason.SANDBOX
    if not receiver.enabled:
        return HeldReason.DISABLED
    if event_type(record.change.reason) not in receiver.events:
        return HeldReason.EVENTS
    if RANK[record.change.severity] < RANK[receiver.severity]:
        return HeldReason.FLOOR
    return None
