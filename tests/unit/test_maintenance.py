"""Maintenance windows: by the clock of their zone, over midnight and when clocks are set, and what follows them."""

from __future__ import annotations

from datetime import datetime, time
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.maintenance import DAYS, QuietWindow, ends_ns, in_maintenance
from watchdog.core.durations import HOUR_NS, MINUTE_NS

BERLIN = "Europe/Berlin"
PATCH_DAY = QuietWindow("patch-day", time(2), time(4), BERLIN, ("tue",), ("alice",), place="watchdog.yaml:7")
NIGHT = QuietWindow("night", time(22), time(6), BERLIN, ("fri",))
SPRING = QuietWindow("spring", time(2), time(3), BERLIN)  # on 2026-03-29 the clock goes from 02:00 to 03:00
AUTUMN = QuietWindow("autumn", time(2), time(3), BERLIN)  # on 2026-10-25 it shows 02:00 to 03:00 twice


def at(text: str, zone: str = BERLIN, fold: int = 0) -> int:
    """Return the unix ns of a local time."""
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()) * 10**9


@pytest.mark.parametrize(
    ("when", "inside"),
    [
        ("2026-11-24T01:59:59", False),
        ("2026-11-24T02:00", True),
        ("2026-11-24T03:59:59", True),
        ("2026-11-24T04:00", False),
        ("2026-11-25T03:00", False),  # a Wednesday
        ("2026-07-07T02:00", True),  # summer time
        ("2026-07-07T04:00", False),
    ],
)
def test_a_window_is_by_the_clock_of_its_zone(when: str, inside: bool) -> None:
    found = in_maintenance([PATCH_DAY], "alice", "high", at(when))
    assert found is (PATCH_DAY if inside else None)


def test_it_holds_back_its_nodes_below_a_severity() -> None:
    when = at("2026-11-24T03:00")
    assert in_maintenance([PATCH_DAY], "bob", "high", when) is None
    assert in_maintenance([PATCH_DAY], "alice", "critical", when) is None
    high = QuietWindow("x", time(2), time(4), BERLIN, keeps="high")
    assert in_maintenance([high], "*", "warning", when) is high
    assert in_maintenance([high], "alice", "high", when) is None


@pytest.mark.parametrize(
    ("when", "inside"),
    [
        ("2026-11-27T21:59", False),
        ("2026-11-27T22:00", True),  # Friday
        ("2026-11-28T00:00", True),
        ("2026-11-28T05:59", True),
        ("2026-11-28T06:00", False),
        ("2026-11-28T22:00", False),  # Saturday
        ("2026-11-27T05:00", False),  # what Thursday did not begin
    ],
)
def test_a_window_over_midnight_belongs_to_the_day_on_which_it_begins(when: str, inside: bool) -> None:
    assert (NIGHT.around(at(when)) is not None) is inside


def test_equal_times_are_a_whole_day() -> None:
    day = QuietWindow("day", time(0), time(0), BERLIN, ("sun",))
    assert day.around(at("2026-11-29T00:00")) == (at("2026-11-29T00:00"), at("2026-11-30T00:00"))
    assert day.around(at("2026-11-29T23:59")) is not None
    assert day.around(at("2026-11-30T00:00")) is None
    spring = day.around(at("2026-03-29T12:00"))
    assert spring is not None
    assert spring[1] - spring[0] == 23 * HOUR_NS


def test_an_hour_that_the_clock_skips_has_no_window() -> None:
    before = at("2026-03-29T01:59")
    assert all(SPRING.around(before + minute * MINUTE_NS) is None for minute in range(120))
    longer = QuietWindow("longer", time(1, 30), time(2, 30), BERLIN)  # ends when the clock skips
    assert longer.around(before) == (at("2026-03-29T01:30"), at("2026-03-29T03:00"))
    later = QuietWindow("later", time(2, 30), time(3, 30), BERLIN)  # begins then
    assert later.around(at("2026-03-29T03:10")) == (at("2026-03-29T03:00"), at("2026-03-29T03:30"))


def test_an_hour_that_the_clock_shows_twice_is_inside_twice() -> None:
    first, second = at("2026-10-25T02:00", fold=0), at("2026-10-25T03:00")
    assert second - first == 2 * HOUR_NS
    assert AUTUMN.around(first) == (first, second)
    assert all(AUTUMN.around(first + minute * MINUTE_NS) == (first, second) for minute in range(120))
    assert AUTUMN.around(first - 1) is None
    assert AUTUMN.around(second) is None


@given(st.integers(0, 2_000_000_000), st.sampled_from(["UTC", BERLIN, "America/New_York", "Australia/Lord_Howe"]))
def test_the_windows_of_all_days_leave_nothing_out(second: int, zone: str) -> None:
    always = [QuietWindow(day, time(12), time(12), zone, (day,)) for day in DAYS]
    found = [span for one in always if (span := one.around(second * 10**9)) is not None]
    assert len(found) == 1
    assert found[0][0] <= second * 10**9 < found[0][1]


@pytest.mark.parametrize("time_ns", [-1, 10**21])
def test_times_that_no_calendar_has_are_outside(time_ns: int) -> None:
    assert QuietWindow("x", time(0), time(0)).around(time_ns) is None


def test_the_end_of_windows_that_touch_is_that_of_the_last() -> None:
    windows = [
        QuietWindow("a", time(2), time(4), BERLIN),
        QuietWindow("b", time(4), time(5), BERLIN),
        QuietWindow("c", time(4), time(9), BERLIN, nodes=("bob",)),
    ]
    when = at("2026-11-24T03:00")
    assert ends_ns(windows, "alice", "high", when) == at("2026-11-24T05:00")
    assert ends_ns(windows, "bob", "high", when) == at("2026-11-24T09:00")
    assert ends_ns(windows, "alice", "critical", when) is None
    assert ends_ns(windows, "alice", "high", at("2026-11-24T06:00")) is None
    always = [QuietWindow("always", time(0), time(0))]
    assert ends_ns(always, "alice", "high", when) is not None  # it comes to an end
