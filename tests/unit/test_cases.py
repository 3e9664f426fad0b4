"""Cases: what links findings, when notices go out, who is named, and the bounds."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from alerts.case import feed as case_feed
from alerts.case import joining as case_joining
from alerts.case.feed import CaseFeed
from alerts.case.joining import CASE_WITNESSES, OPEN_CASES
from alerts.case.render import case_object
from alerts.case.state import INDEX_ENTRIES
from alerts.cases import CasePicture, Taken
from alerts.claims import RuleWords
from alerts.incident import IncidentState
from tests.support.case_rig import START_NS, CaseRig, made_finding, notices_of
from watchdog.core.durations import HOUR_NS
from watchdog.core.finding import Evidence

A, A_TOO, NEAR_A = "91.165.48.111", "91.165.48.112", "91.165.200.7"
B, C = "217.94.191.240", "45.12.7.9"


def test_one_finding_is_a_case_that_waits_a_minute_and_is_over_after_half_an_hour() -> None:
    rig = CaseRig()
    rig.burst("ping-flood", [A], 0, lasts=5)
    (case,) = rig.until(0.99)
    assert case.life.notices == []
    (case,) = rig.until(34)
    assert notices_of(case) == [(1.0, "opened")]
    (case,) = rig.until(40)
    assert notices_of(case) == [(1.0, "opened"), (35.0, "resolved")]
    assert case.life.state is IncidentState.RESOLVED
    assert [notice.parties for notice in case.life.notices] == [(A,), (A,)]


@pytest.mark.parametrize(("severity", "waits"), [("warning", 1.0), ("high", 0.5), ("critical", 0.0)])
def test_the_first_notice_waits_by_severity(severity: str, waits: float) -> None:
    rig = CaseRig()
    rig.say("ping-flood", [A], 0, severity=severity)
    assert notices_of(rig.until(3)[0]) == [(waits, "opened")]


def test_info_alone_is_no_case() -> None:
    rig = CaseRig()
    rig.say("silent-listeners", [A], 0, severity="info")
    assert rig.until(60) == []


@pytest.mark.parametrize(
    ("first", "second", "apart", "cases"),
    [
        (("ping-flood", A), ("inv-flood", A), 60, 1),  # the same address within 2 hours
        (("ping-flood", A), ("inv-flood", A), 126, 2),  # beyond
        (("ping-flood", A), ("addr-beyond-limit", A_TOO), 10, 1),  # the same /24, whatever the family
        (("ping-flood", A), ("inv-flood", NEAR_A), 10, 1),  # the same netblock and family
        (("ping-flood", A), ("addr-beyond-limit", NEAR_A), 10, 2),  # the same netblock, another family
        (("addr-beyond-limit", A), ("eclipse-inbound-group", NEAR_A), 10, 1),  # floods prepare eclipses
        (("addr-pattern-2021", A), ("addr-pattern-2021", B), 4, 1),  # one technique at one time
        (("addr-pattern-2021", A), ("addr-pattern-2021", B), 8, 1),  # again within a third of the window
        (("addr-pattern-2021", A), ("addr-pattern-2021", B), 10, 2),  # the first was over
        (("addr-beyond-limit", A), ("addr-beyond-limit", B), 3, 1),  # no technique, one beginning
        (("addr-beyond-limit", A), ("addr-beyond-limit", B), 4, 2),  # over a third of the window apart
        (("eclipse-tried-source", A), ("eclipse-outbound-replaced", B), 60, 1),  # stages of one eclipse
        (("ping-flood", A), ("inv-flood", B), 1, 2),  # nothing in common
    ],
)
def test_what_links_two_findings(first: tuple[str, str], second: tuple[str, str], apart: float, cases: int) -> None:
    rig = CaseRig()
    rig.burst(first[0], [first[1]], 0, severity="warning")
    rig.burst(second[0], [second[1]], apart, severity="warning")
    assert len(rig.until(apart + 1)) == cases


def test_a_flood_of_2021_from_many_netblocks_has_two_notices() -> None:
    rig = CaseRig()
    for number in range(40):
        rig.burst("addr-pattern-2021", [f"9.{number // 4}.0.{number}"], number, lasts=10)
    (case,) = rig.until(200)
    assert [reason for _, reason in notices_of(case)] == ["opened", "resolved"]
    assert len(case.parties) == 10


def test_a_merge_of_two_with_notices_has_one_notice_and_the_younger_id_is_an_alias() -> None:
    rig = CaseRig()
    rig.say("ping-flood", [A], 0)
    rig.say("inv-flood", [B], 2)
    first, second = rig.until(4)
    rig.say("headers-spam", [A], 10, key={"conn": "1"})
    rig.say("headers-spam", [B], 10, key={"conn": "2"})
    (case,) = rig.until(30)
    assert (case.life.id, case.life.aliases) == (first.life.id, [second.life.id])
    assert notices_of(case) == [(1.0, "opened"), (10.0, "merged")]
    assert rig.feed.book.state.case(second.life.id) is case.life


def test_a_merge_before_the_first_notice_is_silent() -> None:
    rig = CaseRig()
    rig.say("ping-flood", [A], 0)
    rig.say("inv-flood", [B], 0.2)
    rig.say("headers-spam", [A], 0.4, key={"conn": "1"})
    rig.say("headers-spam", [B], 0.4, key={"conn": "2"})
    (case,) = rig.until(30)
    assert notices_of(case) == [(1.0, "opened")]


def test_two_changes_within_five_minutes_are_one_notice_but_critical_does_not_wait() -> None:
    rig = CaseRig()
    rig.say("eclipse-inbound-group", [A], 0)
    rig.say("eclipse-inbound-group", [A], 2, change="escalate", severity="high")
    rig.say("eclipse-new-table-group", [A], 3)
    rig.say("ping-flood", [A], 20, severity="critical")
    (case,) = rig.until(30)
    assert notices_of(case) == [(1.0, "opened"), (6.0, "severity"), (20.0, "severity")]


def test_stages_of_an_eclipse_raise_the_severity() -> None:
    rig = CaseRig()
    rig.say("eclipse-tried-growth", [], 0)
    rig.say("eclipse-outbound-replaced", [A], 5)
    (case,) = rig.until(8)
    assert (case.life.stages, case.life.severity) == (["poisoning", "outbound"], "high")
    rig.say("eclipse-stale-tip", [], 60, severity="warning")
    (case,) = rig.until(70)
    assert (case.life.stages, case.life.severity) == (["poisoning", "outbound", "view"], "critical")


def test_a_witness_belongs_to_the_case_whose_names_it_has_and_does_not_hold_it_open() -> None:
    rig = CaseRig()
    rig.burst("addr-pattern-2021", [A], 0)
    rig.burst("addr-slow-swarm", [B], 1, key={"netblock": "217.94.0.0/16"})
    rig.say("addr-inflow", [B, A], 3)
    one, other = rig.until(10)
    assert (_witnesses(one), _witnesses(other)) == ([], ["addr-inflow"])
    assert {case.life.state.value for case in rig.until(120)} == {"resolved"}


def test_a_witness_without_a_case_is_one_until_another_fits() -> None:
    rig = CaseRig()
    rig.say("addr-inflow", [A], 0)
    (alone,) = rig.until(5)
    assert notices_of(alone) == [(1.0, "opened")]
    rig.say("addr-beyond-limit", [A], 10)
    (case,) = rig.until(20)
    assert (case.life.id, _witnesses(case)) == (alone.life.id, ["addr-inflow"])


def test_merges_keep_a_case_within_its_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each claim begins as a case of its own, so that a bound of single cases alone bounds nothing."""
    for name in ("CASE_INCIDENTS", "CASE_LEAVES"):
        monkeypatch.setattr(case_joining, name, 4)
    rig, rules = CaseRig(), ("ping-flood", "inv-flood", "connection-churn")
    for rule, party in zip(rules, (A, B, C), strict=True):
        rig.say(rule, [party], 0)
        for place, other in enumerate(one for one in rules if one != rule):
            finding = made_finding(other, [party], 1 + place, severity="info")
            rig.feed.take(finding.time_ns, f"{other} of {party}", finding)
    apart = rig.until(5)
    assert (len(apart), sum(len(one.leaves) for one in apart)) == (3, 5)
    for number, party in enumerate((A, B, C)):
        rig.say("headers-spam", [party], 6, key={"conn": str(number)})
    (case,) = rig.until(10)
    assert (len(case.life.incidents), len(case.life.leaves)) == (4, 4)
    assert rig.feed.book.state.counters["leaves_refused"] == 1
    shown = {claim.number for claim in (*case.claims, *case.leaves)}
    assert all({edge.claim, edge.other} <= shown for edge in case.life.edges)


def test_a_case_of_witnesses_alone_is_bounded() -> None:
    rig = CaseRig()
    for number in range(CASE_WITNESSES + 20):
        finding = made_finding("addr-inflow", [], number / 60)
        rig.feed.take(finding.time_ns, f"incident {number}", finding)
    (case,) = rig.until(10)
    assert len(case.life.witnesses) == CASE_WITNESSES


def test_witnesses_of_one_family_without_a_case_share_one_and_move_together() -> None:
    rig = CaseRig()
    rig.say("mass-disconnect", [A], 0)
    rig.say("eclipse-inbound-concentrated", [B], 5)
    rig.say("misbehaving-peers", [B], 6)
    shared, other = rig.until(8)
    assert sorted(_witnesses(shared)) == ["eclipse-inbound-concentrated", "mass-disconnect"]
    assert _witnesses(other) == ["misbehaving-peers"]
    rig.say("eclipse-inbound-group", [C], 9)
    case, other = rig.until(12)
    assert (case.life.id, len(case.witnesses), len(case.claims)) == (shared.life.id, 2, 1)
    assert rig.feed.book.state.loose == [other.witnesses[0].number]


def test_three_weak_parties_that_begin_alike_are_a_case_and_two_are_none() -> None:
    rig = CaseRig()
    rig.say("silent-listeners", ["9.1.0.0/24"], 0, severity="info")
    rig.say("silent-listeners", ["9.2.0.0/24"], 5, severity="info")
    assert rig.until(6) == []
    rig.say("silent-listeners", ["9.3.0.0/24"], 10, severity="info")
    (case,) = rig.until(12)
    assert len(case.parties) == 3


def test_known_spy_ranges_that_connect_to_every_node_are_no_case() -> None:
    rig = CaseRig()
    for number in range(4):
        rig.say("known-spy-range", [f"9.{number}.0.0/24"], number, severity="info")
    assert rig.until(30) == []


def test_a_weak_party_in_two_rules_is_a_case() -> None:
    rig = CaseRig()
    rig.say("silent-listeners", ["9.1.0.0/24"], 0, severity="info")
    rig.say("connection-churn", ["9.1.0.0/16"], 10, severity="info")
    assert len(rig.until(12)) == 1


def test_an_info_claim_is_shown_in_the_case_it_fits_and_bridges_nothing() -> None:
    rig = CaseRig()
    rig.say("silent-listeners", ["112.124.34.0/24"], 0, severity="warning")
    rig.say("connection-churn", ["112.124.34.9"], 1, severity="info")
    rig.say("connection-churn", ["216.160.1.1"], 2, severity="warning")
    first, second = rig.until(4)
    assert ([one.rule for one in first.leaves], second.leaves) == (["connection-churn"], [])
    assert case_object(second)["parties"] != case_object(first)["parties"]


def test_names_that_gossip_made_up_accuse_no_one_but_those_who_announced_them() -> None:
    rig = CaseRig()
    announced_by = Evidence(START_NS, "addrman:insert", {"entry_netblock": "114.34.0.0/16", "source_addr": A})
    rig.say("eclipse-new-table-group", ["114.34.0.0/16"], 0, evidence=(announced_by,))
    rig.say("ping-flood", ["114.34.7.7"], 1)
    poisoned, flooded = rig.until(3)
    data = case_object(poisoned)
    assert [party["name"] for party in data["parties"]] == [A]  # type: ignore[attr-defined]
    assert data["announced"] == ["114.34.0.0/16"]
    assert flooded.life.declined[0].why.startswith("gossip named 114.34.0.0/16")
    rig.say("addr-slow-swarm", [A], 5)
    assert len(rig.until(8)) == 2  # the announcer joins two of them; nothing joins the ping flood


def test_replaced_outbound_peers_accuse_those_that_came() -> None:
    rig = CaseRig()
    lost = Evidence(START_NS, "peer:outbound_lost", {"peer_addr": A})
    came = Evidence(START_NS, "peer:outbound_replaced", {"peer_addr": B})
    rig.say("eclipse-outbound-replaced", [A, B], 0, evidence=(lost, came))
    (case,) = rig.until(3)
    assert [party.name for party in case.parties] == [B]


def test_many_peers_that_relay_are_no_single_origin() -> None:
    rig = CaseRig()
    for number in range(30):
        event = Evidence(START_NS, "p2p:addr", {"direction": "out", "peer_addr": f"9.{number}.0.1"})
        rig.say("addr-beyond-limit", [f"9.{number}.0.1"], 0, evidence=(event,))
    (case,) = rig.until(3)
    assert case.life.notices[0].parties == ("no single origin: 30 peers relay it",)


def test_outbound_peers_that_took_the_slots_are_named_however_many() -> None:
    rig = CaseRig()
    came = [
        Evidence(START_NS, "peer:outbound_replaced", {"peer_addr": f"9.{n}.0.1", "direction": "out"}) for n in range(30)
    ]
    rig.say("eclipse-outbound-replaced", [f"9.{n}.0.1" for n in range(30)], 0, evidence=tuple(came))
    (case,) = rig.until(3)
    assert case.life.notices[0].parties[0] == "9.0.0.1"


def test_a_popular_netblock_links_nothing_by_itself() -> None:
    rig = CaseRig()
    for round_ in range(3):
        rig.burst("ping-flood", ["3.120.7.7"], 200 * round_)
    rig.say("ping-flood", ["3.120.1.1"], 700)
    rig.say("inv-flood", ["3.120.200.200"], 705)
    cases = rig.until(710)
    assert len(cases) == 5
    assert "popular" in cases[-1].life.declined[0].why


def test_a_case_reopens_when_its_party_returns_within_two_hours() -> None:
    rig = CaseRig()
    rig.burst("ping-flood", [A], 0)
    rig.burst("ping-flood", [A], 90)
    (case,) = rig.until(94)
    assert [reason for _, reason in notices_of(case)] == ["opened", "resolved", "reopened"]


def test_a_thousand_netblocks_at_once_are_one_case() -> None:
    rig = CaseRig()
    for number in range(1_000):
        name = f"{20 + number // 256}.{number % 256}.0.1"
        rig.burst("ping-flood", [name], 0, key={"conn": str(number)})
    (case,) = rig.until(100)
    assert [reason for _, reason in notices_of(case)] == ["opened", "resolved"]
    assert len(case.parties) == 1_000
    assert len(rig.feed.book.state.index) <= INDEX_ENTRIES


@pytest.mark.parametrize(("every", "hours", "later_an_hour"), [(2, 30, 5), (20, 60, 1)])
def test_a_new_netblock_again_and_again_does_not_page_again_and_again(
    every: int, hours: int, later_an_hour: int
) -> None:
    rig = CaseRig()
    for number in range(hours * 60 // every):
        name = f"{20 + number // 256}.{number % 256}.0.1"
        rig.burst("ping-flood", [name], number * every, lasts=1, key={"conn": str(number)})
    cases = rig.until(hours * 60)
    hourly = Counter((notice.time_ns - START_NS) // HOUR_NS for case in cases for notice in case.life.notices)
    assert max(hourly.values()) <= 5
    assert max((many for hour, many in hourly.items() if hour >= 2), default=0) <= later_an_hour
    assert sum(hourly.values()) <= hours // 4  # an hourly digest would say more
    assert len(cases) <= 8


def test_noise_of_one_party_does_not_hide_another_party() -> None:
    rig = CaseRig()
    for minute in range(0, 60, 2):
        rig.say("ping-flood", [A], minute, change="update" if minute else "fire")
    rig.say("addr-beyond-limit", [B], 30, severity="high")
    first, second = rig.until(60)
    assert [reason for _, reason in notices_of(second)] == ["opened"]
    assert first.parties[0].name == A


def test_open_cases_are_bounded_and_the_rest_share_one() -> None:
    feed = CaseFeed("alice", {f"rule-{number}": RuleWords("") for number in range(300)})
    for number in range(300):
        finding = replace(
            made_finding("ping-flood", [f"{20 + number // 200}.{number % 200}.0.1"], 0), rule=f"rule-{number}"
        )
        feed.take(finding.time_ns, f"incident-{number}", finding)
    feed.finish(START_NS)
    cases = feed.book.pictures()
    assert len(cases) == OPEN_CASES
    assert feed.book.state.counters["overflow"] == 300 - OPEN_CASES + 1
    assert max(len(case.claims) for case in cases) == 300 - OPEN_CASES + 1


def test_findings_that_wait_for_a_part_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(case_feed, "PENDING", 100)
    rig = CaseRig()
    for minute in range(120):
        rig.say("ping-flood", [A], minute, change="update" if minute else "fire")
        rig.feed.reach([START_NS, START_NS + HOUR_NS * 3], [START_NS])
    assert rig.feed.book.state.counters["pending_hurried"] == 51
    assert [reason for _, reason in notices_of(rig.feed.book.pictures()[0])] == ["opened"]


def _witnesses(case: CasePicture) -> list[str]:
    return [one.rule for one in case.witnesses]


def test_late_findings_count_from_now() -> None:
    rig = CaseRig()
    rig.say("ping-flood", ["203.0.113.5"], 10)
    rig.until(10)
    book = rig.feed.book
    late = made_finding("inv-flood", ["198.51.100.9"], 2)
    book.take(late.time_ns, [Taken("late", late)])
    assert [case.life.opened_ns >= START_NS + 600 * 10**9 for case in book.pictures()] == [True, True]
    assert book.state.now_ns > late.time_ns


def test_a_case_that_has_been_quiet_for_a_while_shows_those_who_made_it() -> None:
    rig = CaseRig()
    rig.burst("ping-flood", ["203.0.113.5"], 0, 3)
    (case,) = rig.until(10)
    assert (case.life.is_open, [one.fires for one in case.claims]) == (True, [False])
    assert [(party.party, party.weight > 0) for party in case.parties] == [("203.0.0.0/16", True)]


def test_what_is_over_is_not_remembered_as_firing() -> None:
    rig = CaseRig()
    rig.burst("ping-flood", ["203.0.113.5"], 0, 3)
    rig.say("inv-flood", ["198.51.100.9"], 1)
    rig.until(2)
    assert set(rig.feed.book.state.members) == {"ping-flood", "inv-flood"}
    rig.until(5)
    assert set(rig.feed.book.state.members) == {"inv-flood"}
