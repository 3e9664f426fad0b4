"""The life of incidents, told as short stories in event time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from alerts.book import IncidentBook
from alerts.book_record import BookRecord, decoded, encoded
from alerts.incident import Incident, IncidentChange, IncidentState, Policy, Reason
from alerts.incident_table import IncidentError
from watchdog.core.errors import StateError
from watchdog.core.finding import OVERFLOW, Change, Evidence, Finding, Severity

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
GROUP = {"netgroup": "136.43.0.0/16"}


def finding(change: Change, minute: float, peer: str = "136.43.1.1:8333", **other: Any) -> Finding:
    """A finding about one peer of one netgroup; times in minutes. `other` replaces fields: any of Finding's types."""
    time_ns = int(minute * MINUTE)
    plain = Finding(
        rule="addr-beyond-limit",
        attack="addr-flooding",
        severity="warning",
        node="node",
        change=change,
        time_ns=time_ns,
        since_ns=time_ns - 2 * MINUTE,
        key={"boot": "7", "peer": peer},
        incident=GROUP,
        entities=(peer.rsplit(":", 1)[0],),
        measures={"beyond": 150},
        summary=f"{peer} sent 150 addresses beyond the limit",
        resolve_after_ns=30 * MINUTE,
    )
    return replace(plain, **other)


def told(book: IncidentBook, *findings: Finding, until: float | None = None) -> list[IncidentChange]:
    """Apply findings and advance (to the last one's time, or to minute `until`)."""
    changes = [change for one in findings for change in book.apply(one)]
    end_ns = int(until * MINUTE) if until is not None else max((one.time_ns for one in findings), default=0)
    return changes + book.advance(end_ns)


def reasons(changes: list[IncidentChange]) -> list[str]:
    return [change.reason.value for change in changes]


def only(book: IncidentBook) -> Incident:
    (incident,) = book.table.incidents()
    return incident


def test_an_incident_opens_with_the_time_its_condition_held() -> None:
    (change,) = told(book := IncidentBook(), finding("fire", 10))
    assert (change.reason, change.text) == (Reason.OPENED, "condition held for 2m")
    incident = only(book)
    assert (incident.state, incident.opened_ns, incident.resolved_ns) == (IncidentState.OPEN, 10 * MINUTE, None)
    assert incident.entities == ("136.43.0.0/16", "136.43.1.1")


def test_forty_peers_of_one_group_are_one_incident() -> None:
    book = IncidentBook()
    changes = told(book, *(finding("fire", 10 + n, f"136.43.1.{n}:8333") for n in range(40)))
    assert reasons(changes) == ["opened", *["member joined"] * 39]
    incident = only(book)
    assert (incident.members, incident.firing) == (40, 40)
    assert incident.summary == "40 peers of 136.43.0.0/16: 136.43.1.39:8333 sent 150 addresses beyond the limit"
    assert [(entry.reason, entry.count) for entry in incident.history] == [("opened", 1), ("member joined", 39)]


def test_it_resolves_by_event_time_after_the_last_member_cleared() -> None:
    book = IncidentBook()
    changes = told(
        book, finding("fire", 10), finding("fire", 11, "b:1"), finding("clear", 20), finding("clear", 25, "b:1")
    )
    assert reasons(changes) == ["opened", "member joined", "member cleared", "cleared"]
    assert told(book, until=54.9) == []
    (change,) = told(book, until=300)
    assert (change.reason, change.text, change.time_ns) == (Reason.RESOLVED, "quiet for 30m", 55 * MINUTE)
    assert (only(book).state, only(book).resolved_ns, only(book).cleared_ns) == ("resolved", 55 * MINUTE, 25 * MINUTE)


def test_a_member_that_fires_again_while_quiet_keeps_it_open() -> None:
    book = IncidentBook()
    changes = told(book, finding("fire", 10), finding("clear", 20), finding("fire", 40), until=100)
    assert reasons(changes) == ["opened", "cleared", "member joined"]
    assert only(book).state == "open"
    assert only(book).members == 1


def test_firing_soon_after_the_resolution_reopens_under_the_same_id() -> None:
    book = IncidentBook()
    told(book, finding("fire", 10), finding("clear", 20), until=60)
    first = only(book)
    assert reasons(told(book, finding("fire", 79))) == ["reopened"]
    assert (only(book).id, only(book).state, only(book).resolved_ns) == (first.id, "open", None)


def test_firing_long_after_the_resolution_is_a_new_incident() -> None:
    book = IncidentBook()
    told(book, finding("fire", 10), finding("clear", 20), finding("fire", 81))
    first, second = book.table.incidents()
    assert (first.state, second.state) == ("resolved", "open")
    assert first.id != second.id
    assert first.fingerprint == second.fingerprint


def test_the_reopen_window_is_never_shorter_than_ten_minutes() -> None:
    book = IncidentBook()
    told(book, finding("fire", 10, resolve_after_ns=0), finding("clear", 20, resolve_after_ns=0))
    assert only(book).resolved_ns == 20 * MINUTE
    assert reasons(told(book, finding("fire", 29))) == ["reopened"]


@pytest.mark.parametrize("severities", [("warning", "high"), ("warning", "critical", "info")])
def test_severity_is_the_highest_reached_and_never_falls(severities: tuple[Severity, ...]) -> None:
    book = IncidentBook()
    changes = told(book, *(finding("update", 10 + n, severity=severity) for n, severity in enumerate(severities)))
    assert reasons(changes)[:2] == ["opened", "escalated"]
    assert changes[1].text.startswith(f"warning to {severities[1]}: ")
    assert only(book).severity == severities[1]


def test_measures_and_summary_are_those_of_the_worst_finding_and_the_peak_is_kept() -> None:
    book = IncidentBook()
    told(
        book,
        finding("fire", 10, measures={"beyond": 150, "sent": 900}),
        finding("escalate", 11, severity="high", measures={"beyond": 1200, "sent": 1300}, summary="worst"),
        finding("update", 12, measures={"beyond": 400, "sent": 2000}, summary="later, milder"),
        finding("clear", 13, severity="high", measures={"beyond": 1, "sent": 1}, summary="over"),
    )
    incident = only(book)
    assert incident.summary == "worst"
    assert incident.measures == {"beyond": 1200, "sent": 1300}
    assert incident.peak == {"beyond": 1200, "sent": 2000}


def test_entities_come_most_involved_first() -> None:
    book = IncidentBook()
    told(
        book,
        finding("fire", 10, entities=("136.43.1.1", "136.43.2.2", "AS64500")),
        finding("update", 11, entities=("136.43.2.2", "136.43.1.1")),
        finding("update", 12, entities=("136.43.2.2",)),
    )
    assert only(book).entities == ("136.43.0.0/16", "136.43.2.2", "136.43.1.1", "AS64500")


def test_listed_entities_are_bounded_and_the_rest_is_counted() -> None:
    book = IncidentBook(Policy(listed_entities=5, tracked_entities=50))
    told(book, *(finding("fire", n, f"136.43.1.{n}:1") for n in range(1, 21)))
    assert len(only(book).entities) == 5
    assert only(book).entities_beyond == 16  # 20 peers and the group, of which 5 are listed
    told(book, *(finding("fire", n, f"136.43.1.{n}:1") for n in range(21, 200)))
    assert only(book).entities[0] == "136.43.0.0/16"
    assert only(book).entities_beyond >= 195


def test_evidence_keeps_events_before_and_after_the_opening_and_each_once() -> None:
    def event(second: int) -> Evidence:
        return Evidence(second * SECOND, "p2p:addr", {"entries": second})

    book = IncidentBook()
    told(
        book,
        finding("fire", 10, evidence_limit=6, evidence=tuple(event(n) for n in range(590, 600))),
        finding("update", 11, evidence_limit=6, evidence=tuple(event(n) for n in range(595, 660))),
        finding("update", 12, evidence_limit=6, evidence=tuple(event(n) for n in range(655, 720))),
    )
    assert [shown.time_ns // SECOND for shown in only(book).evidence] == [598, 599, 600, 601, 602, 603]


def test_events_that_are_alike_count_as_often_as_one_finding_shows_them() -> None:
    same = Evidence(SECOND, "p2p:ping", {"nonce": 1})
    book = IncidentBook()
    told(book, finding("fire", 1, evidence=(same, same)), finding("update", 2, evidence=(same, same)))
    assert only(book).evidence == (same, same)


def test_completeness_is_the_least_of_all_findings() -> None:
    book = IncidentBook()
    told(book, finding("fire", 1), finding("update", 2, completeness=0.4), finding("update", 3, completeness=0.9))
    assert only(book).completeness == 0.4


def test_members_are_bounded_and_the_longest_quiet_one_makes_room() -> None:
    book = IncidentBook(Policy(members=2))
    told(
        book,
        finding("fire", 1, "a:1"),
        finding("fire", 2, "b:1"),
        finding("clear", 3, "a:1"),
        finding("fire", 4, "c:1"),
    )
    assert (only(book).members, only(book).firing, only(book).members_beyond) == (3, 2, 1)
    told(book, finding("fire", 5, "d:1"))
    assert (only(book).members, only(book).firing, only(book).members_beyond) == (4, 2, 2)


def test_groups_beyond_the_cap_share_one_incident_that_closes_when_they_clear() -> None:
    book = IncidentBook(Policy(open_per_rule=2))
    groups = [{"netgroup": f"{n}.0.0.0/16"} for n in range(1, 6)]
    told(book, *(finding("fire", 10 + n, f"{n}:1", incident=group) for n, group in enumerate(groups)))
    assert [incident.key for incident in book.table.incidents()] == [groups[0], groups[1], OVERFLOW]
    assert book.counters["overflow"] == 3
    told(book, *(finding("clear", 20 + n, f"{n}:1", incident=group) for n, group in enumerate(groups)), until=100)
    assert {incident.state for incident in book.table.incidents()} == {IncidentState.RESOLVED}


def test_a_key_of_the_common_incident_stays_there_until_it_clears() -> None:
    book = IncidentBook(Policy(open_per_rule=1))
    other = {"netgroup": "9.9.0.0/16"}
    told(book, finding("fire", 1), finding("fire", 2, "b:1", incident=other), finding("clear", 3), until=40)
    told(book, finding("update", 41, "b:1", incident=other), finding("clear", 42, "b:1", incident=other), until=90)
    assert [(incident.key, incident.state) for incident in book.table.incidents()] == [
        (GROUP, "resolved"),
        (OVERFLOW, "resolved"),
    ]


def test_settled_incidents_beyond_the_cap_are_forgotten_eldest_first() -> None:
    book = IncidentBook(Policy(resolved=2))
    for hour in range(5):
        told(book, finding("fire", 300 * hour), finding("clear", 300 * hour + 1), until=300 * hour + 299)
    assert [incident.opened_ns // MINUTE for incident in book.table.incidents()] == [900, 1200]
    assert book.counters["forgotten"] == 3


def test_an_operator_acknowledges_and_the_incident_still_resolves_by_itself() -> None:
    book = IncidentBook()
    told(book, finding("fire", 10))
    (change,) = book.acknowledge(only(book).id, "ada", 11 * MINUTE)
    assert (change.reason, change.text, change.state) == ("acknowledged", "by ada", "acknowledged")
    assert book.acknowledge(only(book).id, "ada", 12 * MINUTE) == []
    assert reasons(told(book, finding("clear", 20), until=60)) == ["cleared", "resolved"]
    with pytest.raises(IncidentError, match="is resolved"):
        book.acknowledge(only(book).id, "ada", 61 * MINUTE)


def test_what_an_operator_resolved_reopens_on_a_new_member_only() -> None:
    book = IncidentBook()
    told(book, finding("fire", 10))
    assert reasons(book.resolve(only(book).id, "ada", 11 * MINUTE)) == ["resolved by operator"]
    assert told(book, finding("update", 12)) == []
    assert only(book).state == "resolved"
    assert reasons(told(book, finding("fire", 13, "b:1"))) == ["reopened"]


def test_an_operator_cannot_act_on_what_is_not_there() -> None:
    with pytest.raises(IncidentError, match="no incident 'beef'"):
        IncidentBook().acknowledge("beef", "ada", 0)
    with pytest.raises(IncidentError, match="no incident 'beef'"):
        IncidentBook().resolve("beef", "ada", 0)


def test_a_clear_for_nothing_changes_nothing_and_is_counted() -> None:
    book = IncidentBook()
    assert told(book, finding("clear", 10)) == []
    assert book.table.incidents() == []
    assert book.counters["unmatched"] == 1


def test_a_late_fire_does_not_undo_a_later_clear() -> None:
    book = IncidentBook()
    told(book, finding("fire", 10), finding("clear", 20))
    told(book, finding("fire", 15), until=60)
    assert only(book).state == "resolved"
    assert book.counters["late"] == 1


def test_ids_are_the_same_in_every_run_and_differ_by_node_rule_group_and_time() -> None:
    def id_of(**other: Any) -> str:
        book = IncidentBook()
        told(book, finding("fire", other.pop("minute", 10), **other))
        return only(book).id

    assert id_of() == id_of() == "5fbfbc90b08dacf5"
    others = [id_of(minute=11), id_of(node="b"), id_of(rule="c"), id_of(incident={"netgroup": "1.2.0.0/16"})]
    assert len({id_of(), *others}) == 5


def test_history_keeps_the_first_and_the_last_steps() -> None:
    book = IncidentBook(Policy(history=10))
    for n in range(50):
        told(book, finding("fire", 10 * n), finding("clear", 10 * n + 1))
    incident = only(book)
    assert len(incident.history) == 10
    assert incident.history[0].reason == "opened"
    assert incident.history[-1].time_ns == 491 * MINUTE
    assert incident.history_beyond == 90


def test_a_damaged_or_foreign_snapshot_is_refused_with_its_reason() -> None:
    book = IncidentBook()
    told(book, finding("fire", 1))
    blob = encoded(book.record())
    with pytest.raises(StateError, match="not a snapshot of this version"):
        decoded(blob[: len(blob) // 2], BookRecord)
    newer = msgspec.msgpack.decode(blob) | {"version": 99}
    with pytest.raises(StateError, match="version 99, this program reads 4"):
        decoded(msgspec.msgpack.encode(newer), BookRecord)


def test_steps_are_numbered_apart_for_findings_and_operators() -> None:
    book = IncidentBook()
    (opened,) = told(book, finding("fire", 10))
    (acknowledged,) = book.acknowledge(opened.id, "ana", 11 * MINUTE)
    restored = IncidentBook(record=decoded(encoded(book.record()), BookRecord))
    (escalated,) = told(restored, finding("escalate", 12, severity="high"))
    (resolved,) = restored.resolve(opened.id, "ana", 13 * MINUTE)
    counts = [(change.sequence, change.acted) for change in (opened, acknowledged, escalated, resolved)]
    assert counts == [(1, 0), (1, 1), (2, 1), (2, 2)]


def test_an_action_at_another_moment_shifts_no_number_of_other_steps() -> None:
    def told_with_action_after(place: int) -> list[tuple[str, int]]:
        book, changes = IncidentBook(), []
        for step, one in enumerate((finding("fire", 10), finding("update", 11), finding("clear", 12))):
            changes += told(book, one)
            if step == place:
                book.acknowledge(changes[0].id, "ana", one.time_ns)
        return [(change.reason.value, change.sequence) for change in changes]

    assert told_with_action_after(0) == told_with_action_after(2) == [("opened", 1), ("updated", 2), ("cleared", 3)]
