"""Opened and escalated incidents in the service's own log, for hosts without receivers or a page."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Final

from alerts.incident import IncidentChange, Reason
from alerts.notice import ChangeRecord
from watchdog.core.finding import SEVERITIES
from watchdog.core.text import counted, printable

LINES_MOST: Final = 20
"""Lines of one transaction, the most severe incidents first: journald drops lines of a service that floods it."""
SUMMARY_MOST: Final = 300  # characters
_OPENS: Final = frozenset({Reason.OPENED, Reason.REOPENED})
_LOGGED: Final = _OPENS | {Reason.ESCALATED}
_LOG = logging.getLogger("watchdog.incidents")


class IncidentLog:
    """Logs openings and escalations that are in the database, and counts openings; belongs to the writer's thread.

    opened: openings by node since the start of the process; others may read it.
    """

    def __init__(self) -> None:
        self.opened: Counter[str] = Counter()

    def note(self, records: Sequence[ChangeRecord]) -> None:
        """Take stored changes; a line for each opening, reopening and escalation among them."""
        opened = [record for record in records if record.change.reason in _OPENS]
        self.opened.update(record.incident.node for record in opened)
        logged = [record for record in records if record.change.reason in _LOGGED]
        ranked = sorted(logged, key=lambda record: -SEVERITIES.index(record.change.severity))
        for record in ranked[:LINES_MOST]:
            _log(record, record.change)
        if len(logged) > LINES_MOST:
            _LOG.warning("%s left out of this log", counted(len(logged) - LINES_MOST, "further change"))


def _log(record: ChangeRecord, change: IncidentChange) -> None:
    """Write one line; the JSON form has the facts of the incident as fields of their own."""
    incident = record.incident
    facts = {
        "incident": incident.id,
        "rule": incident.rule,
        "severity": change.severity,
        "node": incident.node,
        "attack": incident.attack,
    }
    level = logging.INFO if change.severity == "info" else logging.WARNING
    summary = printable(incident.summary, SUMMARY_MOST)
    text = "incident %s %s: %s at node %s: %s"
    _LOG.log(
        level, text, incident.id, change.reason.value, f"{change.severity} {incident.rule}", printable(incident.node),
        summary, extra={"facts": facts},
    )  # fmt: skip
