"""Changes of cases, as notices report them: what happened, and the case at that moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from alerts.case.notice import CaseReason
from watchdog.core.finding import Severity

PREFIX = "case."
DRILL = "drill"
"""The field of a document that marks a drill (`alerts.drill`)."""


@dataclass(frozen=True, slots=True)
class HeldChange:
    """Why no receiver gets a change, decided with the case. reason: a value of `alerts.decide.HeldReason`."""

    reason: str
    detail: str
    place: str = ""


@dataclass(frozen=True, slots=True)
class CaseChange:
    """One notice of a case before any receiver is considered.

    case_id: its id at that time. root: the id of its first notice, which no merge changes. number: counts the notices
    of the root, from 1. reasons: of the notice, the main one first. time_ns: event time. sandbox: all its rules are.
    before_start: it is of the time before a first start. document: the object of `watchdog replay --cases`. facts: the
    `change` of the notice without its type. held: set where the case itself says that no one gets it, as in a window of
    maintenance.
    """

    case_id: str
    root: str
    number: int
    node: str
    reasons: tuple[CaseReason, ...]
    severity: Severity
    time_ns: int
    sandbox: bool
    before_start: bool
    document: Mapping[str, object]
    facts: Mapping[str, object]
    held: HeldChange | None = None

    @property
    def merged(self) -> tuple[str, ...]:
        """The roots of cases that people had heard of and that became part of this one."""
        one, more = self.facts.get("merged"), self.facts.get("also_merged")
        return tuple(root for root in (one, *(more if isinstance(more, list) else ())) if isinstance(root, str))

    def body(self, reason: CaseReason, url: str | None) -> dict[str, object]:
        """Return the `data` of a notice that reports the change for this reason."""
        change = {"type": event_of(reason), **self.facts, "reason": reason.value}
        return {**self.document, "url": url, "root": self.root, "change": change}


def event_of(reason: CaseReason) -> str:
    """Return the event type of a change for this reason."""
    return PREFIX + reason.value
