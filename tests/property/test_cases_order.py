"""The same findings give the same cases and notices, whatever their interleaving, the pace of the parts, and kills."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.case.change import CaseChange
from alerts.case.drawing import change_of
from alerts.case.feed import CaseFeed
from alerts.case.render import case_line
from alerts.cases import IssuedNotice
from tests.support.case_rig import START_NS, made_finding, shipped_words
from watchdog.core.durations import HOUR_NS, MINUTE_NS
from watchdog.core.finding import SEVERITIES, Change, Evidence, Finding

PARTS = (
    ("ping-flood", "addr-beyond-limit", "addr-pattern-2021", "connection-churn", "silent-listeners"),
    ("eclipse-new-table-group", "eclipse-inbound-group", "eclipse-outbound-replaced", "eclipse-stale-tip"),
    ("addr-inflow", "mass-disconnect", "malformed-messages"),
)
CHANGES: tuple[Change, ...] = ("fire", "update", "escalate", "clear")
NAMES = tuple(f"20.{block}.{host}.1" for block in range(4) for host in range(3))
Part = list[tuple[Finding, int]]


@st.composite
def parts(draw: st.DrawFn) -> list[Part]:
    """Draw findings of three parts, each in the order of its own time."""
    made: list[Part] = []
    for rules in PARTS:
        part: Part = []
        minutes = sorted(draw(st.lists(st.integers(0, 400), max_size=25)))
        for minute in minutes:
            names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True))
            announcer = Evidence(START_NS, "addrman:insert", {"source_addr": draw(st.sampled_from(NAMES))})
            finding = made_finding(
                draw(st.sampled_from(rules)),
                names,
                minute,
                change=draw(st.sampled_from(CHANGES)),
                severity=draw(st.sampled_from(SEVERITIES)),
                evidence=(announcer,),
            )
            known = {(one.rule, one.key["key"], at) for one, at in part}
            if (finding.rule, finding.key["key"], minute) not in known:  # a rule judges a key once in an instant
                part.append((finding, minute))
        made.append(part)
    return made


def drawn_feed() -> CaseFeed:
    feed = CaseFeed("alice", shipped_words())
    feed.book.draw = change_of
    return feed


def story_of(
    found: Sequence[Part], steps: Sequence[int], kills: Sequence[bool]
) -> tuple[list[str], dict[tuple[str, int], CaseChange]]:
    """Take the findings of the parts, each in its order, as the steps choose; killed and resumed after some.

    Return the cases, and their notices by root and number.
    """
    feed, issued = drawn_feed(), list[IssuedNotice]()
    left = [list(part) for part in found]
    marks = [START_NS - 1] * len(found)
    for number, step in enumerate([*steps, *[part for part, own in enumerate(left) for _ in own]]):
        own = left[step]
        if not own:
            continue
        finding, _ = own.pop(0)
        feed.take(finding.time_ns, finding.rule, finding)
        marks[step] = own[0][0].time_ns if own else START_NS + 10 * HOUR_NS
        issued += feed.reach(marks, marks)
        if number < len(kills) and kills[number]:
            blob = feed.snapshot()
            feed = drawn_feed()
            feed.restore(blob)
    issued += feed.finish(START_NS + 10 * HOUR_NS)
    changes = [one.change for one in issued if one.change is not None]
    by_number = {(one.root, one.number): one for one in changes}
    assert len(by_number) == len(issued), "each notice has a number of its own"
    for root in {root for root, _ in by_number}:
        numbers = sorted(number for other, number in by_number if other == root)
        assert numbers == list(range(1, len(numbers) + 1))
    return [case_line(one) for one in feed.book.pictures()], by_number


@settings(max_examples=60, deadline=None)
@given(parts(), st.data())
def test_cases_and_their_notices_do_not_depend_on_interleaving_or_kills(found: list[Part], data: st.DataObject) -> None:
    total = sum(map(len, found))
    steps = data.draw(st.lists(st.integers(0, len(found) - 1), max_size=2 * total))
    kills = data.draw(st.lists(st.booleans(), max_size=total))
    expected = story_of(found, [], [])
    assert story_of(found, steps, []) == expected
    assert story_of(found, steps, kills) == expected


@settings(max_examples=30, deadline=None)
@given(parts(), st.randoms(use_true_random=False))
def test_findings_of_one_instant_have_no_order(found: list[Part], random: object) -> None:
    everything = [finding for part in found for finding, _ in part]
    lines = []
    for _ in range(3):
        random.shuffle(everything)  # type: ignore[attr-defined]
        feed = CaseFeed("alice", shipped_words())
        for finding in everything:
            feed.take(finding.time_ns, finding.rule, finding)
        feed.finish(START_NS + 500 * MINUTE_NS)
        lines.append([case_line(one) for one in feed.book.pictures()])
    assert lines[0] == lines[1] == lines[2]
