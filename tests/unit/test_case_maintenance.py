"""Notices of cases in maintenance windows: held back, and one with the present state when the window ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from alerts.case.drawing import change_of
from alerts.case.feed import CaseFeed
from alerts.case.render import case_object
from alerts.cases import CasePicture
from alerts.incident import IncidentState
from alerts.maintenance import QuietWindow
from tests.support.case_rig import START_NS, CaseRig, notices_of, shipped_words
from watchdog.core.durations import MINUTE_NS
from watchdog.core.finding import Severity

A, B = "91.165.48.111", "217.94.191.240"
START = datetime.fromtimestamp(START_NS // 10**9, UTC)


def window(begin: int, end: int, *, keeps: Severity = "critical", **more: tuple[str, ...]) -> QuietWindow:
    """Return a window between two minutes of the rig."""
    times = [(START + timedelta(minutes=minute)).time() for minute in (begin, end)]
    return QuietWindow("patch", times[0], times[1], keeps=keeps, place="watchdog.yaml:7", **more)  # type: ignore[arg-type]


def rig_in(*windows: QuietWindow) -> CaseRig:
    rig = CaseRig()
    rig.feed.book.maintain(windows)
    return rig


def held(case: CasePicture) -> list[bool]:
    return [notice.held is not None for notice in case.life.notices]


def test_what_still_fires_at_the_end_is_one_notice() -> None:
    rig = rig_in(window(0, 60))
    rig.say("ping-flood", [A], 10)
    rig.say("ping-flood", [A], 20, change="escalate", severity="high")
    (case,) = rig.until(59)
    assert notices_of(case) == [(11.0, "opened"), (20.0, "severity")]
    assert held(case) == [True, True]
    by = case.life.notices[0].held
    assert by is not None
    assert (by.place, by.detail.startswith("patch until ")) == ("watchdog.yaml:7", True)
    (case,) = rig.until(90)
    assert notices_of(case)[2:] == [(60.0, "opened")]
    assert held(case) == [True, True, False]
    assert case.life.notices[-1].severity == "high"


def test_what_is_over_at_the_end_is_not_reported() -> None:
    rig = rig_in(window(0, 60))
    rig.burst("ping-flood", [A], 5, lasts=10)
    (case,) = rig.until(120)
    assert notices_of(case) == [(6.0, "opened"), (45.0, "resolved")]
    assert held(case) == [True, True]
    assert case.life.state is IncidentState.RESOLVED


def test_what_pauses_at_the_end_is_reported_once_it_fires_again() -> None:
    rig = rig_in(window(0, 60))
    rig.burst("ping-flood", [A], 40, lasts=10)
    assert notices_of(rig.until(65)[0]) == [(41.0, "opened")]
    rig.say("ping-flood", [A], 70)
    (case,) = rig.until(75)
    assert notices_of(case)[1:] == [(70.0, "opened")]
    assert held(case) == [True, False]


def test_the_end_of_a_case_that_people_had_heard_of_is_sent() -> None:
    rig = rig_in(window(10, 60))
    rig.burst("ping-flood", [A], 0, lasts=5)
    (case,) = rig.until(90)
    assert notices_of(case) == [(1.0, "opened"), (35.0, "resolved")]
    assert held(case) == [False, False]


def test_a_severity_that_is_kept_is_sent_and_reports_what_waited() -> None:
    rig = rig_in(window(0, 60, keeps="high"))
    rig.say("ping-flood", [A], 10)
    rig.say("ping-flood", [A], 20, change="escalate", severity="high")
    (case,) = rig.until(90)
    assert notices_of(case) == [(11.0, "opened"), (20.0, "severity")]
    assert held(case) == [True, False]


def test_windows_that_touch_end_once_and_those_of_other_nodes_hold_nothing() -> None:
    rig = rig_in(window(0, 30), window(30, 60), window(60, 90, nodes=("bob",)))
    rig.say("ping-flood", [A], 10)
    (case,) = rig.until(100)
    assert notices_of(case) == [(11.0, "opened"), (60.0, "opened")]


def test_a_window_that_is_taken_away_ends_now() -> None:
    rig = rig_in(window(0, 60))
    rig.say("ping-flood", [A], 10)
    rig.until(20)
    rig.feed.book.maintain(())
    (case,) = rig.until(25)
    assert held(case) == [True, False]


def test_a_kill_changes_nothing() -> None:
    windows = (window(0, 60),)
    told = []
    for kills in (False, True):
        rig = rig_in(*windows)
        rig.say("ping-flood", [A], 10)
        rig.say("inv-flood", [B], 12)
        rig.until(30)
        if kills:
            blob = rig.feed.snapshot()
            rig.feed = CaseFeed("alice", shipped_words())
            rig.feed.restore(blob)
            rig.feed.book.maintain(windows)
        told.append([(notices_of(case), held(case)) for case in rig.until(100)])
    assert told[0] == told[1]
    assert len(told[0]) == 2


def test_the_object_of_a_case_has_no_further_key() -> None:
    rig = rig_in(window(0, 60))
    rig.say("ping-flood", [A], 10)
    notices = case_object(rig.until(30)[0])["notices"]
    assert isinstance(notices, list)
    assert set(notices[0]) == {"time", "reason", "severity", "parties"}


def test_a_clock_that_was_ahead_keeps_no_notice_back_until_it_is_reached() -> None:
    ahead = 10 * 24 * 60
    rig = rig_in(window(0, 60))
    rig.say("ping-flood", [A], ahead + 10)
    assert held(rig.until(ahead + 30)[0]) == [True]
    rig.feed.rewind(START_NS + 70 * MINUTE_NS)
    (case,) = rig.until(75)
    assert notices_of(case)[1:] == [(70.0, "opened")]
    assert held(case)[1:] == [False]


def test_a_clock_that_was_ahead_keeps_no_update_back() -> None:
    ahead = 10 * 24 * 60
    rig = CaseRig()
    rig.feed.book.draw = change_of
    rig.say("ping-flood", [A], ahead)
    rig.until(ahead + 10)
    rig.say("inv-flood", [A], ahead + 20, severity="warning")
    rig.until(ahead + 60)
    (case,) = rig.feed.book.pictures()
    assert case.life.updated_to_ns > 0
    rig.feed.rewind(START_NS)
    (case,) = rig.feed.book.pictures()
    assert case.life.updated_to_ns <= START_NS, "the next update would wait for ten days"
