"""`escalation` and `reminders` of `watchdog.yaml`: whom to notify of cases that no one takes on, and how often."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from alerts.case.change import event_of
from alerts.case.notice import CaseReason
from alerts.escalation import MOST_ESCALATIONS, MOST_TO, AttentionPlan, Escalation
from watchdog.core.durations import DAY_NS, SECOND_NS
from watchdog.core.finding import SEVERITIES, Severity
from watchdog.located_yaml import values
from watchdog.located_yaml.keys import Key
from watchdog.located_yaml.nodes import Node, Scalar, Series
from watchdog.located_yaml.problem import Location, Report
from watchdog.located_yaml.suggest import did_you_mean
from watchdog.service.config.found import Found
from watchdog.service.config.receivers import subject_of
from watchdog.service.config.section import read_section
from watchdog.service.config.settings import ReceiverSettings
from watchdog.service.config.shapes import Section, Shape
from watchdog.service.config.values import Reading

CASE_SEVERITIES: tuple[Severity, ...] = ("warning", "high", "critical")
"""Severities that cases have."""
ENTRY = Section(
    "escalation",
    "An entry: whom to notify, and when.",
    (
        Key("severity", "choice", "Of cases of this severity and above.", "high", choices=CASE_SEVERITIES),
        Key(
            "after",
            "duration",
            "How long after the notice that reported the severity, by the clock of this machine.",
            required=True,
            unit="duration",
            low=10 * SECOND_NS,
            high=30 * DAY_NS,
        ),
        Key("unless", "choice", "What makes it needless.", "acknowledged", choices=("acknowledged",)),
        Key(
            "to",
            "nodes",
            "Names of receivers; they get it though their `events` and `severity` leave it out.",
            required=True,
        ),
    ),
)


def read_escalation(node: Node, name: str, reading: Reading) -> tuple[Escalation, ...] | None:
    """Read a list of entries; None with every mistake in the report."""
    report = reading.report
    if not isinstance(node, Series) or not node.items:
        hint = "- {severity: high, after: 10m, unless: acknowledged, to: [lead]}"
        report.error(node.place, f"'{name}' must be a list of entries", hint)
        return None
    if len(node.items) > MOST_ESCALATIONS:
        report.error(node.place, f"'{name}' has {len(node.items)} entries; at most {MOST_ESCALATIONS}")
        return None
    before = len(report.problems)
    found = [_entry(item, name, reading) for item in node.items]
    return tuple(one for one in found if one is not None) if len(report.problems) == before else None


def _entry(node: Node, name: str, reading: Reading) -> Escalation | None:
    table = values.table(node, name, reading.report)
    if table is None:
        return None
    found = read_section(ENTRY, table, reading)
    severity, after_ns, to = found.maybe("severity", str), found.maybe("after", int), found.maybe("to", tuple)
    if to is not None and not 0 < len(to) <= MOST_TO:
        reading.report.error(found.where("to"), f"'to' must name 1 to {MOST_TO} receivers")
    if severity is None or after_ns is None or not to:
        return None
    place = found.where("to")
    known = next(one for one in SEVERITIES if one == severity)
    return Escalation(known, after_ns, to, f"{Path(place.source.name).name}:{place.line}")


def read_reminders(node: Node, key: Key[Shape], report: Report) -> Mapping[str, int] | None:
    """Read a table of durations by severity; None with every mistake in the report."""
    table = values.table(node, key.name, report)
    if table is None:
        return None
    found: dict[str, int] = {}
    for entry in table.entries:
        name = entry.key.text
        if name not in CASE_SEVERITIES:
            hint = did_you_mean(name, CASE_SEVERITIES, "severities")
            report.error(entry.key.place, f"unknown severity '{name[:60]}' in '{key.name}'", hint)
            continue
        every_ns = values.duration(entry.value, f"{key.name}.{name}", key.low, key.high, report)
        if every_ns is not None:
            found[name] = every_ns
    return found or None


def check_attention(node: Node, receivers: Mapping[str, Found], report: Report) -> None:
    """Report receivers of escalations that do not exist, or that hear of incidents. node: the value of `escalation`."""
    for item in node.items if isinstance(node, Series) else ():
        for entry in getattr(item, "entries", ()):
            if entry.key.text != "to":
                continue
            named = entry.value.items if isinstance(entry.value, Series) else (entry.value,)
            for one in named:
                if isinstance(one, Scalar):
                    _check_receiver(one.text, one.place, receivers, report)


def _check_receiver(name: str, place: Location, receivers: Mapping[str, Found], report: Report) -> None:
    found = receivers.get(name)
    if found is None:
        report.error(place, f"no receiver '{name[:80]}'", did_you_mean(name, receivers, "receivers"))
    elif subject_of(found) == "incidents":
        hint = "write 'about: cases' there"
        report.error(place, f"receiver '{name}' hears of incidents, and a case escalates", hint)
    elif found.values.get("enabled") is False:
        report.warn(place, f"receiver '{name}' is switched off, so nothing escalates to it", "see its 'enabled'")


def attention_plan(top: Found) -> AttentionPlan:
    """Return what a configuration without problems says of both."""
    every = top.maybe("reminders", dict) or {}
    named = {one: every[one] for one in SEVERITIES if one in every}
    return AttentionPlan(top.maybe("escalation", tuple) or (), MappingProxyType(named))


def reminded(receiver: ReceiverSettings, found: Found, plan: AttentionPlan) -> ReceiverSettings:
    """Return a receiver as it is where there are reminders: one about cases that lists no `events` gets them, too."""
    if not plan.reminders or "events" in found.places or receiver.about != "cases":
        return receiver
    return replace(receiver, events=(*receiver.events, event_of(CaseReason.REMINDER)))
