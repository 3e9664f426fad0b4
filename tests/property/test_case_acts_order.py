"""Operators' acts give the same cases and stories, whatever the interleaving of findings, and kills in between."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.case.acts import CASE_VERBS, CaseAct, CaseVerb, acted_on
from alerts.case.document import stored_cases
from alerts.case.feed import CaseFeed
from alerts.case.life import FLAPS, FLAPS_NS
from alerts.case.notice import CaseReason
from alerts.party import party_of
from tests.property.test_cases_order import NAMES, Part, parts
from tests.support.case_rig import START_NS, CaseRig, shipped_words
from watchdog.core.durations import HOUR_NS, MINUTE_NS

END_NS = START_NS + 10 * HOUR_NS


def documents(
    found: Sequence[Part], acts: Sequence[CaseAct], steps: Sequence[int], kills: Sequence[bool]
) -> list[object]:
    """Take findings as the steps choose, with acts that wait for their times; killed and resumed after some."""
    feed = CaseFeed("alice", shipped_words())
    for act in acts:
        feed.acts.take(act)
    left = [list(part) for part in found]
    marks = [START_NS - 1] * len(found)
    notices = []
    for number, step in enumerate([*steps, *[part for part, own in enumerate(left) for _ in own]]):
        own = left[step]
        if not own:
            continue
        finding, _ = own.pop(0)
        feed.take(finding.time_ns, finding.rule, finding)
        marks[step] = own[0][0].time_ns if own else END_NS
        notices += feed.reach(marks, marks)
        if number < len(kills) and kills[number]:
            blob = feed.snapshot()
            feed = CaseFeed("alice", shipped_words())
            feed.restore(blob)
    notices += feed.finish(END_NS)
    return [*[row.document for row in stored_cases(feed.book)], [one.notice for one in notices]]


@st.composite
def acts_on(draw: st.DrawFn, ids: Sequence[str]) -> list[CaseAct]:
    """Draw acts on cases that come about without any act, in the order of their times."""
    minutes = sorted(draw(st.lists(st.integers(0, 400), min_size=1, max_size=8)))
    acts = []
    for number, minute in enumerate(minutes, 1):
        verb = draw(st.sampled_from(CASE_VERBS))
        party = party_of(draw(st.sampled_from(NAMES))) or "" if verb == "split" else ""
        who, case = draw(st.sampled_from(("anna", "bert"))), draw(st.sampled_from(ids))
        acts.append(CaseAct(number, case, "alice", verb, who, "why", party, START_NS + minute * MINUTE_NS))
    return acts


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 90), min_size=1, max_size=25), st.data())
def test_a_case_reopens_at_most_three_times_in_two_hours(pauses: list[int], data: st.DataObject) -> None:
    rig, minute = CaseRig(), 0
    for pause in pauses:
        rig.burst("ping-flood", [NAMES[0]], minute, 1)
        minute += 1 + pause
        rig.until(minute - 0.5)
        if data.draw(st.booleans()):
            rig.restart()
    for case in rig.until(minute + 300):
        again = [one.time_ns for one in case.life.notices if one.reason is CaseReason.REOPENED]
        for first, fourth in zip(again, again[FLAPS:], strict=False):
            assert fourth - first > FLAPS_NS
        flaps = [one for one in case.life.story.lines if one.what == "flapping"]
        assert len(again) >= FLAPS or not flaps
        assert (case.life.flapping, case.life.is_open) == (False, False), "it ends all the same"


@settings(max_examples=60, deadline=None)
@given(parts(), st.data())
def test_acts_do_not_depend_on_interleaving_or_kills(found: list[Part], data: st.DataObject) -> None:
    feed = CaseFeed("alice", shipped_words())
    for finding, _ in sorted((one for part in found for one in part), key=lambda one: one[0].time_ns):
        feed.take(finding.time_ns, finding.rule, finding)
    feed.finish(END_NS)
    ids = sorted({*feed.book.state.cases, *feed.book.state.aliases}) or ["0" * 16]
    acts = data.draw(acts_on(ids))
    total = sum(map(len, found))
    steps = data.draw(st.lists(st.integers(0, len(found) - 1), max_size=2 * total))
    kills = data.draw(st.lists(st.booleans(), max_size=total))
    expected = documents(found, acts, [], [])
    assert documents(found, acts, steps, []) == expected
    assert documents(found, acts, steps, kills) == expected


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(CASE_VERBS), st.sampled_from(("anna", "bert"))), max_size=12))
def test_the_history_and_the_book_come_to_the_same(deeds: list[tuple[CaseVerb, str]]) -> None:
    rig = CaseRig()
    rig.say("addr-pattern-2021", [NAMES[0]], 0)
    rig.say("addr-pattern-2021", [NAMES[4]], 1)
    rig.until(5)
    (before,) = stored_cases(rig.feed.book)
    acts = [
        CaseAct(
            number, before.id, "alice", verb, who, "why", "20.1.0.0/16" if verb == "split" else "", before.updated_ns
        )
        for number, (verb, who) in enumerate(deeds, 1)
    ]
    for act in acts:
        rig.feed.acts.take(act)
    rig.settle()
    seen = acted_on(before.document, acts)
    (after,) = stored_cases(rig.feed.book, [before.id])
    for name in ("state", "acknowledged_by", "story", "story_beyond", "split_off"):
        assert seen[name] == after.document[name], name
