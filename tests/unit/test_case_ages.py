"""Cases over days: what is old takes no new party, what was an eclipse is remembered, what was split stays split."""

from __future__ import annotations

import pytest

from alerts.case.render import case_object
from alerts.incident import IncidentState
from tests.support.case_rig import START_NS, CaseRig, notices_of
from watchdog.core.finding import Evidence

A, B, C = "91.165.48.111", "217.94.191.240", "45.12.7.9"
DAY = 24 * 60


def test_a_case_of_more_than_a_day_hands_a_new_party_to_a_case_that_continues_it() -> None:
    rig = CaseRig()
    rig.say("ping-flood", [A], 0)
    rig.say("ping-flood", [B], DAY + 10)
    old, new = rig.until(DAY + 20)
    assert (new.life.continues, new.parties[0].name) == (old.life.id, B)
    assert old.life.state is IncidentState.OPEN
    assert "takes no new party" in new.life.declined[0].why
    rig.say("ping-flood", [C], DAY + 30)  # a third party joins the continuation, not a case of its own
    old, new = rig.until(DAY + 40)
    assert [party.name for party in old.parties] == [A]
    assert {party.name for party in new.parties} == {B, C}


def test_an_old_case_takes_its_own_party_and_new_stages() -> None:
    rig = CaseRig()
    rig.say("eclipse-tried-growth", [], 0)
    rig.say("ping-flood", [A], 0)
    rig.say("inv-flood", [A], DAY + 10)
    rig.say("eclipse-outbound-replaced", [B], DAY + 20)
    poisoned, flood = rig.until(DAY + 40)
    if flood.life.stages:
        poisoned, flood = flood, poisoned
    assert len(flood.claims) == 2
    assert (poisoned.life.stages, poisoned.life.severity) == (["poisoning", "outbound"], "high")


def test_a_case_with_a_new_stage_is_young_again() -> None:
    rig = CaseRig()
    rig.say("eclipse-tried-growth", [], 0)
    rig.say("eclipse-outbound-replaced", [A], DAY - 60)
    rig.say("eclipse-outbound-replaced", [B], DAY + 60)
    (case,) = rig.until(DAY + 70)
    assert {party.name for party in case.parties} == {A, B}


@pytest.mark.parametrize(("hours", "continues"), [(70, True), (74, False)])
def test_an_eclipse_by_a_party_of_a_resolved_one_continues_it(hours: int, continues: bool) -> None:
    rig = CaseRig()
    rig.burst("eclipse-inbound-group", [A], 0, lasts=60)
    (first,) = rig.until(200)
    assert first.life.resolved_ns is not None
    rig.say("eclipse-outbound-replaced", [A], 180 + hours * 60)
    old, new = rig.until(180 + hours * 60 + 10)
    assert old.life.id == first.life.id
    if continues:
        assert (new.life.continues, new.life.stages, new.life.severity) == (old.life.id, ["slots", "outbound"], "high")
        assert case_object(new)["continues"] == old.life.id
    else:
        assert (new.life.continues, new.life.stages, new.life.severity) == (None, ["outbound"], "warning")


def test_the_same_stage_again_is_no_continuation() -> None:
    rig = CaseRig()
    rig.burst("eclipse-inbound-group", [A], 0, lasts=60)
    rig.say("eclipse-inbound-group", [A], 600)
    assert [case.life.continues for case in rig.until(610)] == [None, None]


def test_poison_restart_and_outbound_over_two_days_are_one_story() -> None:
    """threats.md A09: the tables are poisoned, the node restarts a day later, and dials the attacker's addresses."""
    rig = CaseRig()
    gossip = tuple(Evidence(START_NS, "addrman:insert", {"source_addr": A}) for _ in range(9))
    for number in range(16):
        rig.burst("eclipse-new-table-group", [f"114.{number}.0.0/16"], 10 + number / 10, lasts=120, evidence=gossip)
    rig.burst("addr-slow-swarm", [A], 12, lasts=90)
    (poison,) = rig.until(DAY)
    assert (poison.life.stages, poison.parties[0].name) == (["poisoning"], A)
    rig.burst("node-restart", [], DAY + 60, lasts=60, severity="info")
    rig.restart()
    came = tuple(Evidence(START_NS, "peer:outbound_replaced", {"peer_addr": f"114.{n}.3.3"}) for n in range(6))
    lost = tuple(Evidence(START_NS, "peer:outbound_lost", {"peer_addr": f"9.{n}.3.3"}) for n in range(6))
    names = [event.fields["peer_addr"] for event in (*lost, *came)]
    rig.say("eclipse-outbound-replaced", [str(name) for name in names], 2 * DAY, evidence=(*lost, *came))
    first, second = rig.until(2 * DAY + 10)
    assert first.life.id == poison.life.id
    assert (second.life.continues, second.life.severity) == (first.life.id, "high")
    assert second.life.stages == ["poisoning", "outbound"]
    assert {party.party for party in second.parties} == {f"114.{number}.0.0/16" for number in range(6)}
    assert notices_of(second) == [(2 * DAY + 0.5, "opened")]


def test_a_party_that_was_split_off_stays_apart_also_after_a_restart() -> None:
    rig = CaseRig()
    rig.say("addr-pattern-2021", [A], 0)
    rig.say("addr-pattern-2021", [B], 1)
    (case,) = rig.until(5)
    new = rig.feed.book.split(case.life.id, "217.94.0.0/16", START_NS + 6)
    assert new is not None
    first, second = rig.until(6)
    assert ([one.name for one in first.parties], [one.name for one in second.parties]) == ([A], [B])
    rig.restart()
    _, second = rig.until(9)
    assert [reason for _, reason in notices_of(second)] == ["opened"], "its id is new to everyone"
    rig.say("addr-pattern-2021", [B, "217.94.0.7"], 10, change="update")
    rig.say("addr-pattern-2021", [C], 11)
    first, second = rig.until(20)
    assert ({one.name for one in first.parties}, second.parties[0].party) == ({A, C}, "217.94.0.0/16")
    assert second.life.declined[0].why == "split by an operator: both show flood-2021 at the same time"


def test_splitting_off_what_is_not_there_changes_nothing() -> None:
    rig = CaseRig()
    rig.say("addr-pattern-2021", [A], 0)
    (case,) = rig.until(5)
    assert rig.feed.book.split(case.life.id, "1.2.0.0/16", START_NS) is None
    assert rig.feed.book.split(case.life.id, "91.165.0.0/16", START_NS) is None  # its only party
    assert rig.feed.book.split("no such case", "91.165.0.0/16", START_NS) is None


def test_a_clock_that_was_ahead_does_not_keep_a_case_open_until_time_has_caught_up() -> None:
    rig = CaseRig()
    rig.burst("ping-flood", [A], 3 * DAY)
    (case,) = rig.until(3 * DAY + 2)
    assert notices_of(case) == [(3 * DAY + 1, "opened")]
    rig.feed.rewind(START_NS)
    rig.restart()
    (case,) = rig.until(40)
    assert notices_of(case) == [(0, "opened"), (30, "resolved")]


def test_a_node_that_is_no_longer_watched_has_no_open_case() -> None:
    rig = CaseRig()
    rig.say("ping-flood", [A], 0)
    rig.until(5)
    (end,) = rig.feed.book.close(START_NS)
    assert (end.notice.reason.value, end.notice.parties) == ("resolved", (A,))
    assert rig.feed.book.state.open_cases() == []


def test_an_incident_that_is_over_ends_all_its_claims() -> None:
    rig = CaseRig()
    rig.say("addr-pattern-2021", [A], 0)
    rig.say("addr-pattern-2021", [B], 1)
    rig.feed.take(START_NS + 120 * 10**9, "addr-pattern-2021", None)
    (case,) = rig.until(40)
    assert notices_of(case)[-1] == (32, "resolved")
