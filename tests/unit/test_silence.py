"""Silences: what they match, what they never hold back, and what becomes of claims and cases meanwhile."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from alerts.case.document import stored_case
from alerts.case.feed import CaseFeed
from alerts.incident import IncidentState
from alerts.silence import LONGEST_NS, Accused, ClaimSilence, SilenceError, check_end, checked, ending, matches
from tests.support.case_rig import START_NS, CaseRig, notices_of, shipped_words
from watchdog.core.durations import DAY_NS, HOUR_NS, MINUTE_NS
from watchdog.core.finding import Evidence

A, A_TOO, NEAR_A = "91.165.48.111", "91.165.48.112", "91.165.200.7"
B = "217.94.191.240"
ONION = "a" * 56 + ".onion"


def silence(begin: float = 0, end: float = 600, **matchers: str) -> ClaimSilence:
    """Return a silence from minute `begin` until before minute `end`."""
    from_ns, until_ns = (START_NS + int(minute * MINUTE_NS) for minute in (begin, end))
    return ClaimSilence("1", from_ns, until_ns, "anna", "our crawler", **matchers)


def accused(**fresh: object) -> Accused:
    known: dict[str, object] = {
        "node": "alice",
        "rule": "ping-flood",
        "technique": "flood",
        "severity": "high",
        "party": "91.165.0.0/16",
        "names": (A,),
    }
    return Accused(**(known | fresh))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("matchers", "held"),
    [
        ({"rule": "ping-flood"}, True),
        ({"rule": "inv-flood"}, False),
        ({"technique": "flood"}, True),
        ({"technique": "spy"}, False),
        ({"party": A}, True),
        ({"party": A_TOO}, False),
        ({"party": "91.165.48.0/24"}, True),
        ({"party": "91.165.0.0/16"}, True),
        ({"party": "0.0.0.0/0"}, True),
        ({"party": "::/0"}, False),
        ({"party": A, "rule": "ping-flood"}, True),
        ({"party": A, "rule": "inv-flood"}, False),
        ({"party": A, "technique": "spy"}, False),
        ({"party": A, "node": "alice"}, True),
        ({"party": A, "node": "bob"}, False),
        ({"rule": "ping-flood", "node": "*"}, False),
    ],
)
def test_all_matchers_must_match(matchers: dict[str, str], held: bool) -> None:
    assert matches(silence(**matchers), accused()) is held  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("party", "names", "more", "held"),
    [
        ("91.165.48.0/24", (A, A_TOO), False, True),
        ("91.165.48.0/24", (A, NEAR_A), False, False),  # a stranger beside it
        ("91.165.48.0/24", (A, A_TOO), True, False),  # others may have remained unnamed
        ("91.165.0.0/16", (A, NEAR_A), True, True),  # the whole netblock
        ("91.165.48.0/24", ("91.165.0.0/16", A), False, True),  # rules by netblock name it too
        ("91.165.48.0/24", ("91.165.0.0/16",), False, False),
        ("91.165.48.0/24", ("AS3320", A), False, True),
        ("91.165.48.0/24", (), False, False),
    ],
)
def test_a_party_must_cover_all_who_are_accused(party: str, names: tuple[str, ...], more: bool, held: bool) -> None:
    assert matches(silence(party=party), accused(names=names, more=more)) is held


@pytest.mark.parametrize(
    ("party", "own", "narrow"),
    [
        ("", "91.165.0.0/16", False),
        ("91.0.0.0/8", "91.165.0.0/16", False),
        ("91.164.0.0/15", "91.165.0.0/16", False),
        ("91.165.0.0/16", "91.165.0.0/16", True),
        ("91.165.48.111", "91.165.0.0/16", True),
        ("2001:db8::/31", "2001:db8::/32", False),
        ("2001:db8::/32", "2001:db8::/32", True),
        (ONION, ONION, True),
    ],
)
def test_only_a_narrow_party_holds_back_what_must_be_heard(party: str, own: str, narrow: bool) -> None:
    names = (own,) if own != "91.165.0.0/16" else (A,)
    one = silence(party=party, rule="ping-flood")
    assert matches(one, accused(party=own, names=names))
    assert matches(one, accused(party=own, names=names, severity="critical")) is narrow
    for technique in ("outbound", "view"):
        assert matches(one, accused(party=own, names=names, technique=technique)) is narrow
    assert matches(one, accused(party=own, names=names, technique="tried"))  # a stage that may be silenced


def test_a_party_does_not_silence_the_state_of_the_node() -> None:
    assert not matches(silence(party="91.165.0.0/16"), accused(party="", names=(A,), state=True))
    assert matches(silence(rule="ping-flood"), accused(party="", names=(A,), state=True))


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (" 203.0.113.7 ", "203.0.113.7"),
        ("203.0.113.7/32", "203.0.113.7"),
        ("203.0.113.0/24", "203.0.113.0/24"),
        ("2001:DB8::/32", "2001:db8::/32"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        (ONION.upper(), ONION),
    ],
)
def test_parties_are_written_in_one_way(text: str, kept: str) -> None:
    assert checked(silence(party=text)).party == kept


@pytest.mark.parametrize(
    ("matchers", "words"),
    [
        ({}, "needs a party, a rule or a technique"),
        ({"rule": "a", "technique": "b"}, "not both"),
        ({"party": "203.0.113.7/24"}, "write 203.0.113.0/24"),
        ({"party": "example.com"}, "is not an address"),
        ({"party": "127.0.0.1"}, "all onion peers come"),
        ({"party": ".onion"}, "is not an address"),
        ({"rule": "a" * 101}, "at most 100"),
    ],
)
def test_a_silence_that_cannot_be_is_refused(matchers: dict[str, str], words: str) -> None:
    with pytest.raises(SilenceError, match=words):
        checked(silence(**matchers))  # type: ignore[arg-type]


@pytest.mark.parametrize(("author", "comment"), [("", "why"), ("anna", " "), ("a" * 101, "why"), ("anna", "a" * 2_001)])
def test_author_and_comment_are_required(author: str, comment: str) -> None:
    with pytest.raises(SilenceError):
        checked(ClaimSilence("1", 0, 1, author, comment, party=A))


def test_a_silence_lasts_thirty_days_at_most() -> None:
    check_end(LONGEST_NS, 0)
    for until_ns in (LONGEST_NS + 1, 0, -1):
        with pytest.raises(SilenceError):
            check_end(until_ns, 0)


def test_those_that_end_within_a_day_are_known() -> None:
    first, later, over = (
        ClaimSilence(id_, 0, until * HOUR_NS, "anna", "x", party=A) for id_, until in (("1", 34), ("2", 35), ("3", 10))
    )
    assert ending([later, first, over], 10 * HOUR_NS) == [first]
    assert ending([later, first, over], 11 * HOUR_NS) == [first, later]
    assert ending([first], 34 * HOUR_NS) == []
    short = ClaimSilence("4", 20 * HOUR_NS, 34 * HOUR_NS, "anna", "x", party=A)
    assert ending([short], 21 * HOUR_NS) == []
    assert DAY_NS == 24 * HOUR_NS


# ---- in the book of cases


def rig_with(*silences: ClaimSilence) -> CaseRig:
    rig = CaseRig()
    rig.feed.book.silence(silences)
    return rig


def test_a_silenced_claim_opens_no_case_and_stays_in_the_book() -> None:
    rig = rig_with(silence(party="91.165.48.0/24"))
    rig.burst("ping-flood", [A], 1)
    assert rig.until(60) == []
    (claim,) = rig.feed.book.state.claims.values()
    assert (claim.silenced, claim.case) == ("1", "")


def test_an_attack_beside_silenced_noise_is_a_case_of_its_own() -> None:
    alone = CaseRig()
    alone.say("ping-flood", [NEAR_A], 2)
    rig = rig_with(silence(party="91.165.48.0/24"))
    rig.say("ping-flood", [A], 1)
    rig.say("ping-flood", [NEAR_A], 2, key={"key": NEAR_A})
    (case,) = rig.until(10)
    # the incident is one, so the party has one claim: it counts, with all its names, once a stranger is in it
    assert notices_of(case) == notices_of(alone.until(10)[0])
    assert NEAR_A in case.parties[0].addresses


def test_silenced_noise_does_not_glue_two_attacks() -> None:
    loud = CaseRig()
    quiet = rig_with(silence(rule="inv-flood"))
    for rig in (loud, quiet):
        rig.say("ping-flood", [A], 1)
        rig.say("addr-beyond-limit", [B], 1)
        rig.say("inv-flood", [A, B], 2)
    assert len(loud.until(60)) == 1
    assert len(quiet.until(60)) == 2


def test_a_silenced_claim_is_shown_in_the_case_that_it_fits() -> None:
    rig = rig_with(silence(rule="inv-flood"))
    rig.say("ping-flood", [A], 1)
    rig.say("inv-flood", [A], 2, severity="high")
    (case,) = rig.until(10)
    assert case.life.severity == "warning"
    assert [one.rule for one in case.leaves] == ["inv-flood"]
    stored = stored_case(case, rig.feed.book.state).document["claims"]
    assert isinstance(stored, list)
    assert [one.get("silenced", "") for one in stored] == ["", silence(rule="inv-flood").words]


def test_when_a_silence_ends_a_claim_that_still_fires_counts() -> None:
    rig = rig_with(silence(end=30, party=A))
    rig.say("ping-flood", [A], 1)
    assert rig.until(29) == []
    (case,) = rig.until(40)
    assert case.life.opened_ns == START_NS + 30 * MINUTE_NS
    assert notices_of(case) == [(31.0, "opened")]


def test_when_a_silence_ends_a_claim_that_is_over_remains_silent() -> None:
    rig = rig_with(silence(end=30, party=A))
    rig.burst("ping-flood", [A], 1, lasts=20)
    assert rig.until(90) == []


def test_a_silence_begins_while_a_case_waits_for_its_notice() -> None:
    rig = rig_with(silence(begin=1, end=30, party=A))
    rig.say("ping-flood", [A], 0.5)
    (case,) = rig.until(20)
    assert notices_of(case) == []
    assert notices_of(rig.until(40)[0]) == [(31.0, "opened")]


def test_a_case_whose_claims_are_all_silenced_ends_and_returns_with_them() -> None:
    rig = rig_with(silence(begin=10, end=100, party=A))
    rig.say("ping-flood", [A], 0)
    (case,) = rig.until(60)
    assert notices_of(case) == [(1.0, "opened"), (40.0, "resolved")]
    rig.say("ping-flood", [A], 70, change="update")
    (case,) = rig.until(90)
    assert case.life.state is IncidentState.RESOLVED
    (case,) = rig.until(110)
    assert notices_of(case)[2:] == [(100.0, "reopened")]


def test_an_escalation_to_critical_is_heard_through_a_silence_by_rule() -> None:
    rig = rig_with(silence(rule="ping-flood"))
    rig.say("ping-flood", [A], 1)
    rig.say("ping-flood", [A], 5, change="escalate", severity="critical")
    (case,) = rig.until(10)
    assert notices_of(case) == [(5.0, "opened")]
    assert case.life.severity == "critical"
    narrow = rig_with(silence(party=A))
    narrow.say("ping-flood", [A], 5, severity="critical")
    assert narrow.until(10) == []


def test_the_stages_outbound_and_view_are_heard_through_a_silence_by_technique() -> None:
    rig = rig_with(silence(technique="outbound"))
    rig.say("eclipse-outbound-replaced", [A], 1)
    (case,) = rig.until(10)
    assert case.life.stages == ["outbound"]


def test_gossip_is_silenced_by_who_announces_not_by_whom_it_names() -> None:
    said = Evidence(START_NS, "addrman:insert", {"source_addr": B})
    by_named, by_announcer = rig_with(silence(party="20.1.0.0/16")), rig_with(silence(party=B))
    for rig in (by_named, by_announcer):
        rig.say("eclipse-new-table-group", ["20.1.0.0/16"], 1, severity="high", evidence=(said,))
    assert len(by_named.until(10)) == 1
    assert by_announcer.until(10) == []


def test_silenced_witnesses_and_info_claims_open_and_promote_nothing() -> None:
    rig = CaseRig()
    rig.feed.book.silence(
        [silence(rule="mass-disconnect"), ClaimSilence("2", 0, START_NS + DAY_NS, "a", "b", rule="silent-listeners")]
    )
    rig.say("mass-disconnect", [A, B], 1)
    for number in range(4):
        rig.say("silent-listeners", [f"20.{number}.1.1"], 2, severity="info", key={"key": str(number)})
    assert rig.until(60) == []


def test_a_silence_that_comes_late_begins_when_it_comes_and_expires_when_it_is_missing() -> None:
    rig = CaseRig()
    rig.until(10)
    assert rig.feed.book.silence([silence(party=A)])
    assert not rig.feed.book.silence([silence(party=A)])
    (kept,) = rig.feed.book.state.silences.values()
    assert kept.from_ns == rig.feed.book.state.now_ns
    rig.say("ping-flood", [A], 11)
    assert rig.until(20) == []
    assert rig.feed.book.silence([])
    rig.until(25)
    assert len(rig.until(25)) == 1


def test_a_series_does_not_take_an_attack_into_a_silenced_case() -> None:
    """Who attacks while a silenced case is still open must be heard."""
    rig = rig_with(silence(begin=40, party="20.0.0.0/8"))
    for number in range(3):
        rig.burst("addr-beyond-limit", [f"20.{number}.1.1"], 12 * number, lasts=100, key={"key": str(number)})
    before = {case.life.id for case in rig.until(42)}
    rig.say("addr-beyond-limit", [B], 45, key={"key": "b"})
    after = rig.until(50)
    (fresh,) = (case for case in after if case.life.id not in before)
    assert [notice.parties for notice in fresh.life.notices] == [(B,)]


def test_a_witness_is_not_hidden_in_a_silenced_case() -> None:
    for begin, cases in ((500, 1), (5, 2)):
        rig = rig_with(silence(begin=begin, party=A))
        rig.say("addr-beyond-limit", [A], 1, severity="high")
        rig.until(8)
        rig.say("addr-inflow", [A, B], 10, severity="warning")
        assert len(rig.until(15)) == cases


def test_silences_of_other_nodes_are_not_taken() -> None:
    rig = CaseRig()
    assert not rig.feed.book.silence([silence(party=A, node="bob")])


def test_a_checkpoint_from_before_silences_is_read() -> None:
    rig = CaseRig()
    rig.say("ping-flood", [A], 1)
    rig.until(5)
    blob = rig.feed.snapshot().replace(b"silences", b"unknown1").replace(b"silenced", b"unknown2")
    feed = CaseFeed("alice", shipped_words())
    feed.restore(blob)
    assert feed.book.state.silences == {}


@pytest.mark.parametrize("stranger", ["127.0.0.1", "::1", "127.0.0.5"])
def test_onion_peers_beside_a_silenced_party_are_heard(stranger: str) -> None:
    """All onion peers come from this machine, which is no party: no claim of their own would be left to notify of."""
    rig = CaseRig()
    rig.feed.book.silence([silence(party="91.165.0.0/16")])
    rig.say("ping-flood", [A, A_TOO], 10, key={})
    assert rig.until(15) == []
    rig.say("ping-flood", [stranger, A], 20, key={})
    (case,) = rig.until(25)
    assert notices_of(case) == [(21.0, "opened")]
    rig.restart()
    assert [claim.silenced for claim in rig.feed.book.state.claims.values()] == [""]


def test_a_key_that_names_the_silenced_party_is_about_it_alone() -> None:
    rig = CaseRig()
    rig.feed.book.silence([silence(party=A)])
    rig.say("ping-flood", [A, "127.0.0.1"], 10, key={"peer_addr": A})
    assert rig.until(30) == []


def test_names_beyond_those_listed_may_be_strangers() -> None:
    rig = CaseRig()
    rig.feed.book.silence([silence(party="91.165.0.0/16")])
    rig.say("ping-flood", [f"91.165.48.{number}" for number in range(1, 21)], 10, key={})
    assert len(rig.until(30)) == 1


def test_claims_that_are_silenced_as_they_come_cost_no_look_at_the_whole_index() -> None:
    """A silenced peer can make claims as fast as rules fire; the index may hold 50,000 keys of others."""
    rig = CaseRig()
    state = rig.feed.book.state

    class Index(dict[str, list[int]]):
        """Counts what walks over all of it."""

        walks = 0

        def __iter__(self) -> Iterator[str]:
            Index.walks += 1
            return super().__iter__()

    rig.say("inv-flood", [B], 1)
    rig.until(2)
    state.index = Index(state.index)
    known = set(state.index)
    Index.walks = 0
    rig.feed.book.silence([silence(party="91.165.0.0/16")])
    for number in range(1, 51):
        rig.say("ping-flood", [f"91.165.48.{number}"], 3 + number / 60)
    rig.until(4.5)
    assert sum(one.silenced == "1" for one in state.claims.values()) > 0
    assert Index.walks == 0
    assert set(state.index) == known, "none of them can be found"
