"""The same findings and silences give the same cases, whatever their interleaving and kills."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import time

from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.case.feed import CaseFeed
from alerts.case.render import case_line
from alerts.maintenance import QuietWindow
from alerts.silence import ClaimSilence
from tests.property.test_cases_order import NAMES, Part, parts
from tests.support.case_rig import START_NS, shipped_words
from watchdog.core.durations import HOUR_NS, MINUTE_NS

PARTIES = (*NAMES[:4], "20.0.0.0/16", "20.1.1.0/24", "20.0.0.0/8", "")
RULES = ("", "ping-flood", "mass-disconnect", "eclipse-outbound-replaced")


@st.composite
def silences(draw: st.DrawFn) -> list[ClaimSilence]:
    """Draw silences that begin and end at any time, also in the middle of an instant with findings."""
    made = []
    for number in range(draw(st.integers(1, 4))):
        begin = draw(st.integers(-10, 400))
        until = begin + draw(st.integers(1, 300))
        party, rule = draw(st.sampled_from(PARTIES)), draw(st.sampled_from(RULES))
        times = (START_NS + begin * MINUTE_NS, START_NS + until * MINUTE_NS)
        made.append(
            ClaimSilence(str(number), *times, "anna", "x", party=party, rule=rule or ("" if party else "inv-flood"))
        )
    return made


def cases_of(
    found: Sequence[Part],
    hushed: Sequence[ClaimSilence],
    steps: Sequence[int],
    kills: Sequence[bool],
    windows: Sequence[QuietWindow] = (),
) -> tuple[list[str], list[str]]:
    """Take the findings as the steps choose, killed and resumed after some.

    Return the cases, and what is held back: claims that are silenced, and notices in maintenance.
    """
    feed = CaseFeed("alice", shipped_words())
    feed.book.maintain(windows)
    feed.book.silence(hushed)
    left = [list(part) for part in found]
    marks = [START_NS - 1] * len(found)
    for number, step in enumerate([*steps, *[part for part, own in enumerate(left) for _ in own]]):
        own = left[step]
        if not own:
            continue
        finding, _ = own.pop(0)
        feed.take(finding.time_ns, finding.rule, finding)
        marks[step] = own[0][0].time_ns if own else START_NS + 10 * HOUR_NS
        feed.reach(marks, marks)
        if number < len(kills) and kills[number]:
            blob = feed.snapshot()
            feed = CaseFeed("alice", shipped_words())
            feed.restore(blob)
            feed.book.maintain(windows)
            assert not feed.book.silence(hushed)  # the history gives them again at each start: nothing changes
    feed.finish(START_NS + 12 * HOUR_NS)
    held = sorted(f"{one.rule} {one.party} {one.silenced}" for one in feed.book.state.claims.values())
    lives = [one.life for one in feed.book.pictures()]
    held += [f"{life.id} {notice.time_ns} {notice.held}" for life in lives for notice in life.notices]
    return [case_line(one) for one in feed.book.pictures()], held


@settings(max_examples=60, deadline=None)
@given(parts(), silences(), st.data())
def test_silences_do_not_depend_on_interleaving_or_kills(
    found: list[Part], hushed: list[ClaimSilence], data: st.DataObject
) -> None:
    total = sum(map(len, found))
    steps = data.draw(st.lists(st.integers(0, len(found) - 1), max_size=2 * total))
    kills = data.draw(st.lists(st.booleans(), max_size=total))
    expected = cases_of(found, hushed, [], [])
    assert cases_of(found, hushed, steps, []) == expected
    assert cases_of(found, hushed, steps, kills) == expected


@settings(max_examples=40, deadline=None)
@given(parts(), st.lists(st.tuples(st.integers(0, 23), st.integers(0, 23)), min_size=1, max_size=3), st.data())
def test_maintenance_does_not_depend_on_interleaving_or_kills(
    found: list[Part], hours: list[tuple[int, int]], data: st.DataObject
) -> None:
    total = sum(map(len, found))
    windows = [QuietWindow(str(begin), time(begin), time(end, 30), "Europe/Berlin") for begin, end in hours]
    steps = data.draw(st.lists(st.integers(0, len(found) - 1), max_size=2 * total))
    kills = data.draw(st.lists(st.booleans(), max_size=total))
    expected = cases_of(found, (), [], [], windows)
    assert cases_of(found, (), steps, kills, windows) == expected


@settings(max_examples=40, deadline=None)
@given(parts())
def test_a_silence_of_everything_by_its_netblock_leaves_no_case(found: list[Part]) -> None:
    everyone = [
        ClaimSilence(str(block), START_NS - HOUR_NS, START_NS + 24 * HOUR_NS, "anna", "x", party=f"20.{block}.0.0/16")
        for block in range(4)
    ]
    lines, _ = cases_of(
        [[(one, at) for one, at in part if one.rule in ("ping-flood", "connection-churn")] for part in found],
        everyone,
        [],
        [],
    )
    assert lines == []
