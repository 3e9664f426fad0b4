"""What people are notified of about a case, and why."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from watchdog.core.finding import Severity


class CaseReason(StrEnum):
    """Why people are notified; of several at once the first in this order is named."""

    OPENED = "opened"
    REOPENED = "reopened"
    SEVERITY = "severity"
    STAGE = "stage"
    MERGED = "merged"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"
    UPDATED = "updated"  # more claims; only for receivers that ask for it, and not among the case's notices
    REMINDER = "reminder"  # this and the next by the wall clock (`alerts.escalation`), and not among them either
    ESCALATED = "escalated"


@dataclass(frozen=True, slots=True)
class HeldBy:
    """The maintenance window that holds a notice back. detail: its name and end. place: in the configuration."""

    detail: str
    place: str


@dataclass(frozen=True, slots=True)
class CaseNotice:
    """A case notice: what people hear at one moment. parties: the names shown, at most `SHOWN`.

    number: counts the notices of `CaseLife.root`, from 1. others: further reasons that this notice reports too.
    new_stages, new_parties: since the notice before. merged: roots of notified cases that became part of this one.
    before_start: it is of the time before a first start, so no receiver gets it. by, text: the operator, and what the
    operator wrote, where one made the change; else empty. held: a window of maintenance, so no receiver gets it.
    """

    time_ns: int
    reason: CaseReason
    severity: Severity
    parties: tuple[str, ...]
    number: int = 0
    others: tuple[CaseReason, ...] = ()
    new_stages: tuple[str, ...] = ()
    new_parties: tuple[str, ...] = ()
    merged: tuple[str, ...] = ()
    before_start: bool = False
    by: str = ""
    text: str = ""
    held: HeldBy | None = None
