"""What operators do with a case: acknowledge, resolve, note, split; and flap damping."""

from __future__ import annotations

import pytest

from alerts.case.acts import CaseAct, acted_on, effect_of, named_party
from alerts.case.document import stored_cases
from alerts.case.life import CaseLife
from alerts.case.story import KEPT_LINES, Story, StoryLine
from alerts.incident import IncidentState
from tests.support.case_rig import START_NS, CaseRig, notices_of
from watchdog.core.durations import MINUTE_NS

A, B, C = "91.165.48.111", "217.94.191.240", "84.19.3.7"


def only(rig: CaseRig, minute: float) -> CaseLife:
    (case,) = rig.until(minute)
    return case.life


def story_of(case: CaseLife) -> list[tuple[str, str, str]]:
    return [(one.what, one.who, one.text) for one in case.story.lines]


def flooded(severity: str = "warning") -> tuple[CaseRig, CaseLife]:
    """A case that people have heard of, five minutes after its beginning."""
    rig = CaseRig()
    rig.say("ping-flood", [A], 0, severity=severity)
    return rig, only(rig, 5)


def test_an_acknowledgement_waits_for_its_time_and_is_a_notice() -> None:
    rig, case = flooded()
    rig.act(case.id, "ack", 7, text="our crawler?")
    assert (only(rig, 6.9).state, case.acknowledged_by) == (IncidentState.OPEN, None)
    only(rig, 7.1)
    assert (case.state, case.acknowledged_by) == (IncidentState.ACKNOWLEDGED, "anna")
    assert notices_of(rig.feed.book.picture(case)) == [(1, "opened"), (7, "acknowledged")]
    assert (case.notices[-1].by, case.notices[-1].text) == ("anna", "our crawler?")
    assert story_of(case) == [("acknowledged", "anna", "our crawler?")]


def test_more_of_the_same_leaves_an_acknowledgement_alone() -> None:
    rig, case = flooded()
    rig.act(case.id, "ack", 7)
    rig.say("ping-flood", [A], 20, change="update")
    rig.say("inv-flood", [A], 21)
    rig.say("ping-flood", [B], 22, key={"conn": "2"})  # a new party, but the case is no more than a warning
    only(rig, 40)
    assert case.acknowledged_by == "anna"
    assert [reason for _, reason in notices_of(rig.feed.book.picture(case))] == ["opened", "acknowledged"]


def test_a_raised_severity_clears_it_and_notifies() -> None:
    rig, case = flooded()
    rig.act(case.id, "ack", 7)
    rig.say("ping-flood", [A], 20, change="escalate", severity="high")
    only(rig, 26)
    assert (case.state, case.acknowledged_by) == (IncidentState.OPEN, None)
    assert notices_of(rig.feed.book.picture(case))[2:] == [(20, "severity")]
    assert story_of(case)[-1] == ("cleared", "", "since anna acknowledged it: severity high")


def test_a_new_stage_clears_it_and_notifies() -> None:
    rig = CaseRig()
    rig.say("eclipse-new-table-group", [A], 0)
    case = only(rig, 5)
    rig.act(case.id, "ack", 7)
    rig.say("eclipse-inbound-group", [A], 20)
    only(rig, 30)
    assert case.acknowledged_by is None
    assert [reason for _, reason in notices_of(rig.feed.book.picture(case))][2:] == ["stage"]


def test_a_new_party_clears_it_at_high() -> None:
    rig, case = flooded("high")
    rig.act(case.id, "ack", 7)
    rig.say("ping-flood", [A], 10, change="update")
    assert only(rig, 12).acknowledged_by == "anna"
    rig.say("ping-flood", [B], 13, key={"conn": "2"}, severity="high")
    assert only(rig, 20).acknowledged_by is None
    assert notices_of(rig.feed.book.picture(case))[2:] == [(13, "reopened")]
    assert story_of(case)[-1][2] == "since anna acknowledged it: new party 217.94.0.0/16"


def test_the_same_operator_again_changes_nothing_and_another_does() -> None:
    rig, case = flooded()
    rig.act(case.id, "ack", 7)
    rig.act(case.id, "ack", 8, text="still looking")
    rig.act(case.id, "ack", 9, who="bert")
    only(rig, 15)
    assert case.acknowledged_by == "bert"
    assert [at for at, reason in notices_of(rig.feed.book.picture(case)) if reason == "acknowledged"] == [7, 9]
    assert [who for _, who, _ in story_of(case)] == ["anna", "anna", "bert"]


def test_a_case_that_people_have_not_heard_of_is_opened_first() -> None:
    rig = CaseRig()
    rig.say("ping-flood", [A], 0)
    case = only(rig, 0.2)
    rig.act(case.id, "ack", 0.5)
    only(rig, 3)
    assert notices_of(rig.feed.book.picture(case)) == [(0.5, "opened"), (0.5, "acknowledged")]


def test_what_fires_when_an_operator_resolves_does_not_reopen_and_what_comes_then_does() -> None:
    rig, case = flooded()
    rig.act(case.id, "resolve", 10, text="banned")
    rig.say("ping-flood", [A], 12, change="update")
    only(rig, 20)
    assert (case.state, case.resolved_ns) == (IncidentState.RESOLVED, START_NS + 10 * MINUTE_NS)
    rig.say("ping-flood", [A], 21, change="clear")
    rig.say("ping-flood", [A], 22)
    only(rig, 25)
    assert case.is_open
    assert notices_of(rig.feed.book.picture(case)) == [(1, "opened"), (10, "resolved"), (22, "reopened")]
    assert (case.notices[1].by, case.notices[1].text) == ("anna", "banned")


def test_a_claim_that_grows_more_severe_reopens_too() -> None:
    rig, case = flooded()
    rig.act(case.id, "resolve", 10)
    rig.say("ping-flood", [A], 12, change="escalate", severity="critical")
    only(rig, 20)
    assert case.is_open


def test_an_act_on_a_resolved_case_is_a_line_only() -> None:
    rig, case = flooded()
    rig.act(case.id, "resolve", 10)
    rig.act(case.id, "ack", 11)
    rig.act(case.id, "note", 12, text="was a test")
    only(rig, 20)
    assert case.state is IncidentState.RESOLVED
    assert [what for what, *_ in story_of(case)] == ["resolved", "acknowledged", "note"]


def test_a_split_gives_a_party_a_case_of_its_own_for_good() -> None:
    rig = CaseRig()
    rig.say("addr-pattern-2021", [A], 0)
    rig.say("addr-pattern-2021", [B], 1)
    case = only(rig, 5)
    rig.act(case.id, "split", 6, party="217.94.0.0/16", text="a partner")
    rig.until(7)
    rig.restart()
    rig.say("headers-spam", [A], 10, key={"conn": "1"})
    rig.say("headers-spam", [B], 10, key={"conn": "2"})
    old, new = rig.until(30)
    assert old.life.id == case.id
    assert (old.life.state, new.life.state) == (IncidentState.OPEN, IncidentState.OPEN)
    assert story_of(old.life) == [("split", "anna", "217.94.0.0/16 is a case of its own: a partner")]
    assert story_of(new.life) == [("split", "anna", f"217.94.0.0/16 was split off from case {case.id}: a partner")]


def test_every_act_changes_the_case_and_a_split_both_cases() -> None:
    rig = CaseRig()
    rig.say("addr-pattern-2021", [A], 0)
    rig.say("addr-pattern-2021", [B], 1)
    case = only(rig, 5)
    rig.act(case.id, "note", 12, text="looked at")
    assert only(rig, 13).updated_ns == START_NS + 12 * MINUTE_NS
    act = CaseAct(9, case.id, "alice", "split", "anna", "", "217.94.0.0/16", START_NS + 14 * MINUTE_NS)
    cases, issued = rig.feed.book.act(act, act.at_ns)
    assert [one.id == case.id for one in cases] == [True, False]
    assert issued == []


def test_an_act_on_a_merged_case_reaches_the_survivor() -> None:
    rig = CaseRig()
    rig.say("ping-flood", [A], 0)
    rig.say("inv-flood", [B], 2)
    _, younger = rig.until(4)
    rig.say("headers-spam", [A], 10, key={"conn": "1"})
    rig.say("headers-spam", [B], 10, key={"conn": "2"})
    rig.act(younger.life.id, "note", 12, text="looks alike")
    case = only(rig, 20)
    assert [what for what, *_ in story_of(case)] == ["merged", "note"]
    assert story_of(case)[0][2].startswith(f"case {younger.life.id} is the same attack: ")


def test_merging_a_case_that_was_not_acknowledged_clears_only_what_is_more() -> None:
    rig = CaseRig()
    rig.say("ping-flood", [A], 0, severity="high")
    rig.say("inv-flood", [B], 2)
    older, _ = rig.until(4)
    rig.act(older.life.id, "ack", 5)
    rig.say("headers-spam", [A], 10, key={"conn": "1"})
    rig.say("headers-spam", [B], 10, key={"conn": "2"})
    case = only(rig, 20)
    assert case.acknowledged_by is None, "the other party is new at high"


def test_acts_survive_a_restart_and_are_not_applied_twice() -> None:
    rig, case = flooded()
    rig.act(case.id, "ack", 7)
    rig.restart()
    again = only(rig, 8)
    assert again.acknowledged_by == "anna"
    rig.restart()
    assert [one.what for one in only(rig, 9).story.lines] == ["acknowledged"]


def test_an_act_on_an_old_recording_is_applied_at_once_and_others_at_hurry() -> None:
    rig, case = flooded()
    rig.act(case.id, "ack", 60 * 24 * 365)
    assert case.acknowledged_by == "anna"
    rig.act(case.id, "resolve", 9)
    assert [act.verb for _, act in rig.feed.book.state.acts] == ["resolve"]
    rig.feed.acts.hurry()
    issued = rig.feed.acts.until(rig.feed.book.state.now_ns)
    assert [one.notice.reason.value for one in issued] == ["resolved"]
    assert not case.is_open
    assert START_NS < (case.resolved_ns or 0) < START_NS + 9 * MINUTE_NS, "event time, not ahead of it"


def test_an_unknown_case_is_counted() -> None:
    rig, _ = flooded()
    rig.act("0" * 16, "ack", 1)
    assert rig.feed.book.state.counters == {"acts_unknown": 1}


def flapping() -> tuple[CaseRig, CaseLife]:
    """A case that was reopened three times within two hours."""
    rig = CaseRig()
    for minute in (0, 34, 68, 102):
        rig.burst("ping-flood", [A], minute, 1)
    return rig, only(rig, 104)


def test_a_case_that_is_reopened_three_times_stays_open_until_quiet_for_two_hours() -> None:
    rig, case = flapping()
    assert [one.what for one in case.story.lines] == ["flapping"]
    rig.burst("ping-flood", [A], 150, 1)
    rig.restart()
    assert only(rig, 151 + 119).is_open
    case = only(rig, 151 + 121)
    assert case.state is IncidentState.RESOLVED
    reasons = [reason for _, reason in notices_of(rig.feed.book.picture(case))]
    assert reasons.count("reopened") == 3
    assert reasons[-1] == "resolved"
    assert not case.flapping


def test_a_case_that_an_operator_resolves_no_longer_flaps() -> None:
    rig, case = flapping()
    rig.act(case.id, "resolve", 110)
    rig.restart()
    assert not only(rig, 111).flapping
    rig.burst("ping-flood", [A], 68 + 121, 1)  # two hours behind the last reopening but one
    again = only(rig, 190 + 29)
    assert (again.id, again.is_open, again.flapping) == (case.id, True, False)
    assert not only(rig, 190 + 31).is_open, "it ends after half an hour, as any case"


def test_a_case_that_an_operator_resolved_flaps_again_with_a_line_that_says_so() -> None:
    rig, case = flapping()
    rig.act(case.id, "resolve", 110)
    rig.burst("ping-flood", [A], 120, 1)
    again = only(rig, 125)
    assert again.flapping, "it was reopened at minutes 68, 102 and 120"
    assert [one.what for one in again.story.lines] == ["flapping", "resolved", "flapping"]


def test_two_times_or_a_longer_time_is_no_flapping() -> None:
    rig = CaseRig()
    for minute in (0, 34, 68):
        rig.burst("ping-flood", [A], minute, 1)
    assert not only(rig, 70).flapping
    rig.burst("ping-flood", [A], 34 + 121, 1)
    assert not only(rig, 160).flapping


def test_the_story_is_bounded_and_keeps_both_ends() -> None:
    story = Story()
    for number in range(3 * KEPT_LINES):
        story.add(StoryLine(number, "note", str(number)))
    assert (len(story.lines), story.beyond) == (KEPT_LINES, 2 * KEPT_LINES)
    assert (story.lines[0].text, story.lines[-1].text) == ("0", str(3 * KEPT_LINES - 1))


def test_the_document_has_an_act_at_once_as_the_book_has_it_later() -> None:
    rig, case = flooded()
    (before,) = stored_cases(rig.feed.book)
    rig.act(case.id, "ack", 7, text="mine")
    rig.act(case.id, "note", 8, text="nothing new")
    waiting = [act for _, act in rig.feed.book.state.acts]
    (row,) = stored_cases(rig.feed.book)
    assert row.waiting == (1, 2)
    seen = acted_on(before.document, waiting)
    only(rig, 9)
    (after,) = stored_cases(rig.feed.book)
    for name in ("state", "acknowledged_by", "story", "story_beyond"):
        assert seen[name] == after.document[name], name


@pytest.mark.parametrize(
    ("verb", "state", "by", "effect"),
    [
        ("ack", "open", None, "acknowledged"),
        ("ack", "acknowledged", "anna", None),
        ("ack", "acknowledged", "bert", "acknowledged"),
        ("ack", "resolved", None, None),
        ("resolve", "open", None, "resolved"),
        ("resolve", "resolved", None, None),
        ("note", "open", None, None),
        ("split", "open", None, None),
    ],
)
def test_effects(verb: str, state: str, by: str | None, effect: str | None) -> None:
    found = effect_of(verb, "anna", IncidentState(state), by)  # type: ignore[arg-type]
    assert (None if found is None else found.value) == effect


def test_a_party_is_named_by_an_address_a_prefix_or_a_host() -> None:
    assert named_party("217.94.191.240") == named_party("217.94.191.0/24") == named_party("217.94.0.0/16")
    onion = f"{'a' * 56}.onion"
    assert named_party(onion) == onion
    assert named_party("what?") == "what?"
