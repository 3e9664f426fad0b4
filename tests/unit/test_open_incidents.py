"""What a budget knows of incidents: when they are open, whatever their severity was first and how findings are cut."""

from __future__ import annotations

from watchdog.core.finding import Change, Finding, Severity
from watchdog.engine.open_incidents import OpenIncidents


def said(
    time: int, change: Change, severity: Severity = "warning", *, rule: str = "churn", since: int | None = None
) -> Finding:
    return Finding(
        rule=rule,
        attack="resource",
        severity=severity,
        node="node",
        change=change,
        time_ns=time,
        since_ns=time - 5 if since is None else since,
        key={},
        incident={},
        entities=(),
        measures={},
        summary="",
        resolve_after_ns=10,
    )


def spans(
    *findings: Finding, now: int = 1_000, own: tuple[str, ...] = (), beside: bool = False
) -> list[tuple[int, int]]:
    """Those of findings that are heard together; cut at any place, the spans that cover a time are the same."""
    whole = OpenIncidents({"resource"}, own, beside=beside)
    whole.hear(findings)
    cut = OpenIncidents({"resource"}, own, beside=beside)
    for finding in sorted(findings, key=lambda one: one.time_ns):
        cut.hear([finding])
    assert cut.state() == whole.state()
    again = OpenIncidents({"resource"}, own, beside=beside)
    again.restore(cut.state())
    return again.spans("resource", now)


def test_an_incident_is_open_from_its_condition_until_it_is_resolved() -> None:
    assert spans(said(100, "fire"), said(150, "update"), said(200, "clear")) == [(95, 210)]
    assert spans(said(100, "fire")) == [(95, 1_000)]
    assert spans(said(100, "fire"), said(120, "fire"), said(200, "clear")) == [(95, 1_000)], "one of two keys"


def test_one_that_rises_from_info_counts_from_its_rise_on() -> None:
    rises = said(100, "fire", "info"), said(150, "escalate", "high"), said(200, "clear", "high")
    assert spans(*rises) == [(145, 210)]
    assert spans(said(100, "fire", "info"), said(200, "clear", "info")) == []
    assert spans(said(100, "fire", "info"), said(200, "clear", "info"), own=("churn",)) == [(95, 210)]


def test_the_end_of_one_that_rose_is_not_the_end_of_another() -> None:
    rose = said(110, "fire", "info"), said(120, "escalate", "high"), said(130, "clear", "high")
    assert spans(said(100, "fire", "high"), *rose) == [(95, 1_000)]


def test_findings_of_several_windows_and_slices_come_in_any_order() -> None:
    learns = said(140, "fire", "info", since=40), said(190, "clear", "info")
    assert spans(said(100, "fire"), said(210, "clear"), *learns, own=("churn",)) == [(40, 220)]


def test_beside_nothing_is_known_before_the_finding_and_no_later_one_counts() -> None:
    found = said(100, "fire", since=0), said(200, "clear"), said(300, "fire", since=50)
    assert spans(*found, beside=True) == [(100, 210), (300, 1_000)]
    assert spans(*found, beside=True, now=250) == [(100, 210)]
    assert spans(*found, beside=True, now=99) == []


def test_a_rule_that_begins_without_state_has_nothing_open() -> None:
    heard = OpenIncidents({"resource"}, beside=True)
    heard.hear([said(100, "fire"), said(110, "fire", rule="flood"), said(120, "fire", rule="flood")])
    heard.keep({"flood"})
    assert heard.spans("resource", 500) == [(110, 500)]
    heard.hear([said(600, "update", rule="churn")])
    assert (600, 700) in heard.spans("resource", 700), "one that fired before it was listened to"
