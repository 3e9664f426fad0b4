"""Properties of the incident book over random streams of findings."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.book import IncidentBook
from alerts.book_record import BookRecord, decoded, encoded
from alerts.incident import RANK, Incident, IncidentChange, IncidentState, Policy
from watchdog.core.finding import SEVERITIES, Change, Evidence, Finding, Severity

MINUTE = 60_000_000_000
SMALL = Policy(members=3, tracked_entities=6, listed_entities=4, history=8, open_per_rule=2, resolved=3)


def _finding(
    time: int, change: Change, rule: str, group: str, peer: str, severity: Severity, number: int, resolve_after: int
) -> Finding:
    time_ns = time * MINUTE
    return Finding(
        rule=rule,
        attack="addr-flooding",
        severity=severity,
        node="node",
        change=change,
        time_ns=time_ns,
        since_ns=time_ns,
        key={"peer": peer},
        incident={"netgroup": group},
        entities=(peer, f"AS{number}"),
        measures={"sent": number, "share": number / 7},
        summary=f"{peer} sent {number}",
        evidence=tuple(Evidence(time_ns - back * MINUTE, "p2p:addr", {"n": number}) for back in range(3)),
        completeness=1 - number / 100,
        resolve_after_ns=resolve_after * MINUTE,
        evidence_limit=4,
    )


FINDINGS = st.builds(
    _finding,
    time=st.integers(0, 120),
    change=st.sampled_from(("fire", "update", "escalate", "clear", "clear")),
    rule=st.sampled_from(("r", "s")),
    group=st.sampled_from(("1.0.0.0/16", "2.0.0.0/16", "3.0.0.0/16", "4.0.0.0/16")),
    peer=st.sampled_from("abcd"),
    severity=st.sampled_from(SEVERITIES),
    number=st.integers(0, 5),
    resolve_after=st.sampled_from((0, 5, 30)),
)
STREAMS = st.lists(FINDINGS, max_size=60)
POLICIES = st.sampled_from((Policy(), SMALL))


def ordered(stream: list[Finding]) -> list[Finding]:
    """By time, and at most one finding for each rule, group, peer and instant, as the engine gives them."""
    seen = {(one.time_ns, one.rule, str(one.incident), str(one.key)): one for one in stream}
    return sorted(seen.values(), key=lambda one: one.time_ns)


def run(book: IncidentBook, findings: list[Finding]) -> list[IncidentChange]:
    return [change for one in findings for change in book.apply(one)]


def check(incident: Incident, policy: Policy) -> None:
    assert incident.updated_ns >= incident.opened_ns
    assert incident.resolved_ns is None or incident.resolved_ns >= incident.opened_ns
    assert (incident.state is IncidentState.RESOLVED) == (incident.resolved_ns is not None)
    assert incident.firing <= incident.members
    assert incident.firing <= policy.members
    assert len(incident.entities) <= policy.listed_entities
    assert len(incident.evidence) <= 4
    assert len(incident.history) <= policy.history
    assert 0 <= incident.completeness <= 1
    assert all(incident.peak[name] >= value for name, value in incident.measures.items())


@given(STREAMS, POLICIES, st.randoms(use_true_random=False))
def test_invariants_hold_for_any_stream_also_out_of_order(
    stream: list[Finding], policy: Policy, dice: random.Random
) -> None:
    book, worst = IncidentBook(policy), dict[str, int]()
    for one in stream:
        changes = book.apply(one)
        if dice.random() < 0.3:
            changes += book.advance(one.time_ns)
        for change in changes:
            assert RANK[change.severity] >= worst.get(change.id, 0)
            worst[change.id] = RANK[change.severity]
        unresolved = [
            incident.fingerprint for incident in book.table.incidents() if incident.state is not IncidentState.RESOLVED
        ]
        assert len(unresolved) == len(set(unresolved))
        for incident in book.table.incidents():
            check(incident, policy)
    book.drain()
    assert book.counters["findings"] == len(stream)


@given(STREAMS, POLICIES)
def test_everything_that_clears_resolves_in_the_end(stream: list[Finding], policy: Policy) -> None:
    findings = ordered(stream)
    book = IncidentBook(policy)
    run(book, findings)
    book.advance(10_000 * MINUTE)
    for incident in book.table.incidents():
        assert (incident.state is IncidentState.RESOLVED) == (incident.firing == 0)


@given(STREAMS, POLICIES, st.randoms(use_true_random=False))
def test_the_order_of_findings_of_one_instant_does_not_matter(
    stream: list[Finding], policy: Policy, dice: random.Random
) -> None:
    findings = ordered(stream)
    shuffled: list[Finding] = []
    for _, instant in itertools.groupby(findings, key=lambda one: one.time_ns):
        group = list(instant)
        dice.shuffle(group)
        shuffled += group
    book, other = IncidentBook(policy), IncidentBook(policy)
    changes, mixed = run(book, findings) + book.drain(), run(other, shuffled) + other.drain()
    assert changes == mixed
    assert book.table.incidents() == other.table.incidents()


@given(STREAMS, POLICIES, st.lists(st.integers(0, 200), max_size=10))
def test_when_the_book_is_advanced_does_not_matter(stream: list[Finding], policy: Policy, marks: list[int]) -> None:
    findings = ordered(stream)
    plain, often = IncidentBook(policy), IncidentBook(policy)
    expected = run(plain, findings) + plain.advance(500 * MINUTE)
    changes: list[IncidentChange] = []
    waiting = sorted(marks)
    for one in findings:
        while waiting and waiting[0] * MINUTE < one.time_ns:
            changes += often.advance(waiting.pop(0) * MINUTE)
        changes += often.apply(one)
    assert changes + often.advance(500 * MINUTE) == expected
    assert often.table.incidents() == plain.table.incidents()


@settings(max_examples=60)
@given(STREAMS, POLICIES, st.data())
def test_a_restored_book_has_the_same_future(stream: list[Finding], policy: Policy, data: st.DataObject) -> None:
    findings = ordered(stream)
    cut = data.draw(st.integers(0, len(findings)))
    whole = IncidentBook(policy)
    run(whole, findings[:cut])
    resumed = IncidentBook(policy, decoded(encoded(whole.record()), BookRecord))
    assert resumed.table.incidents() == whole.table.incidents()
    assert run(resumed, findings[cut:]) == run(whole, findings[cut:])
    assert resumed.advance(300 * MINUTE) == whole.advance(300 * MINUTE)
    assert encoded(resumed.record()) == encoded(whole.record())


@dataclass(frozen=True)
class _Step:
    change: Change
    peer: str


@given(st.lists(st.builds(_Step, st.sampled_from(("fire", "clear")), st.sampled_from("abc")), max_size=30))
def test_an_incident_is_quiet_exactly_when_no_member_fires(steps: list[_Step]) -> None:
    book, firing = IncidentBook(), set[str]()
    for minute, step in enumerate(steps):
        book.apply(_finding(minute, step.change, "r", "g", step.peer, "warning", 1, 600))
        book.advance(minute * MINUTE)
        (firing.add if step.change == "fire" else firing.discard)(step.peer)
        for incident in book.table.incidents():
            assert incident.firing == len(firing)
            assert (incident.cleared_ns is None) == bool(firing)
