"""Incidents of one rule, their notices in a database, and a receiver of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from alerts.decide import decide, notices
from alerts.incident import Incident, IncidentState
from alerts.notice import EVENT_TYPES, ChangeRecord, Notice
from alerts.routing import Receiver
from alerts.store.database import Database
from alerts.store.writer import IncidentWriter
from tests.support import history
from tests.support.delivery import SECRET, VirtualClock
from tests.support.event_loops import scenery
from tests.support.history import record
from watchdog.core.finding import Severity

NOW_NS = VirtualClock().wall


def incident(number: int, severity: Severity, rule: str, state: IncidentState = IncidentState.OPEN) -> Incident:
    """One of a rule, opened now; its id is its number."""
    plain = history.incident(number)
    key, id_ = {"peer": f"10.0.0.{number}"}, f"{number:016x}"
    now = replace(plain, id=id_, opened_ns=NOW_NS, updated_ns=NOW_NS, key=key, entities=(key["peer"],))
    return replace(now, rule=rule, severity=severity, state=state, node="alice")


def hears(url: str, **other: Any) -> Receiver:
    """Return a receiver of everything, with the default rate. `other` replaces fields: any of Receiver's types."""
    plain: dict[str, Any] = {
        "about": "incidents",
        "secrets": (SECRET,),
        "events": EVENT_TYPES,
        "severity": "info",
        "allow_private": True,
    }
    return Receiver("ops", url, **(plain | other))


def store(database: Database, records: Sequence[ChangeRecord], now_ns: int = NOW_NS) -> list[Notice]:
    """Records and their notices, as the service stores them."""
    told = [
        one
        for each in records
        for one in notices(each, decide(each, [hears("http://127.0.0.1:1/")]), lambda id_: f"/{id_}", now_ns)
    ]
    scenery(lambda: IncidentWriter(database).record(records, told))
    return told


def opened(numbers: range, severity: Severity = "high", rule: str = "flood") -> list[ChangeRecord]:
    """Openings of one rule."""
    return [record(incident(number, severity, rule)) for number in numbers]
