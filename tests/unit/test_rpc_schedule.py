"""Due times of calls: first rounds at once, jitter afterwards, and intervals stretched to keep to the budget."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from watchdog.sources.rpc.schedule import CALLS, COSTLY, LONGEST_S, SLOW, VITAL, Schedule

ALL = frozenset(row.method for row in CALLS)
TIER = {row.method: row.tier for row in CALLS}


def schedule(budget: float = 0.01, intervals: dict[str, float] | None = None, mean: float = 0.5) -> Schedule:
    return Schedule(ALL, intervals or {}, budget, lambda: mean)


def stretches(one: Schedule) -> dict[str, float]:
    return {method: interval.stretch for method, interval in one.intervals().items()}


def present_s(one: Schedule, method: str) -> float:
    return one.intervals()[method].present_s


def run(one: Schedule, cost_s: dict[str, float], hours: float) -> tuple[dict[str, list[float]], float]:
    """Make the calls for so long; when each began, and the seconds that all took."""
    now_s, spent_s = 1_000.0, 0.0
    end_s = now_s + 3_600 * hours
    begun: dict[str, list[float]] = {}
    while now_s < end_s:
        for method in one.due(now_s):
            took_s = cost_s.get(method, 0.001)
            begun.setdefault(method, []).append(now_s)
            one.note(method, took_s, now_s)
            now_s, spent_s = now_s + took_s, spent_s + took_s
        now_s = max(one.next_s(), now_s)
    return begun, spent_s


def test_the_first_round_of_every_call_is_due_at_once_and_the_costly_ones_last() -> None:
    due = schedule().due(5.0)
    assert due == [row.method for row in CALLS]
    assert [TIER[method] for method in due[-2:]] == [COSTLY, COSTLY]


def test_intervals_are_the_issues_own() -> None:
    begun, _ = run(schedule(), {}, 1.0)
    counts = {method: len(times) for method, times in begun.items()}
    assert counts == {
        "getblockchaininfo": 120, "uptime": 120, "getpeerinfo": 120, "getnetworkinfo": 60, "getnettotals": 60,
        "getaddrmaninfo": 60, "getmempoolinfo": 60, "getorphantxs": 60, "getchaintips": 12, "getrawaddrman": 6,
    }  # fmt: skip


def test_jitter_is_ten_percent_and_begins_with_the_second_round() -> None:
    seeded = random.Random(4)
    one = Schedule(ALL, {}, 1.0, seeded.random)
    begun, _ = run(one, {}, 10.0)
    steps = [later - now for now, later in zip(begun["getpeerinfo"], begun["getpeerinfo"][1:], strict=False)]
    assert min(steps) >= 26.9
    assert max(steps) <= 33.1
    assert max(steps) - min(steps) > 5
    assert 29.5 < sum(steps) / len(steps) < 30.5
    assert max(times[0] for times in begun.values()) < 1_000.1


def test_a_call_that_is_off_or_has_no_reader_is_never_made() -> None:
    one = Schedule(ALL - {"getrawaddrman"}, {"getchaintips": 0.0}, 0.01, random.random)
    begun, _ = run(one, {}, 2.0)
    assert not {"getrawaddrman", "getchaintips"} & begun.keys()
    assert one.intervals().keys() == ALL - {"getrawaddrman", "getchaintips"}
    assert Schedule(frozenset(), {}, 0.01, random.random).next_s() == float("inf")


@pytest.mark.parametrize("budget", [0.01, 0.05])
@pytest.mark.parametrize(
    "cost",
    [
        {"getrawaddrman": 60.0},
        {"getrawaddrman": 9.0, "getchaintips": 4.0},
        {"getpeerinfo": 0.2},
        {"getpeerinfo": 0.2, "getrawaddrman": 30.0, "getnetworkinfo": 1.0},
        {"getblockchaininfo": 0.1, "uptime": 0.1, "getmempoolinfo": 2.0},
    ],
)
def test_requests_keep_to_the_budget(budget: float, cost: dict[str, float]) -> None:
    hours = 48.0
    _, spent_s = run(schedule(budget), cost, hours)
    first_round_s = sum(cost.values())  # nothing is known of the costs before it
    assert spent_s - first_round_s <= 1.02 * budget * 3_600 * hours


def test_costly_calls_stretch_first() -> None:
    one = schedule()
    one.note("getrawaddrman", 12.0, 0.0)
    now = stretches(one)
    assert now["getrawaddrman"] > 1.9
    assert {now[method] for method in ALL if TIER[method] != COSTLY} == {1.0}


def test_one_slow_answer_does_not_put_the_costly_calls_off_for_a_day() -> None:
    one = schedule()
    now_s, begun = 0.0, [0.0]
    while now_s < 3_600:
        for method in one.due(now_s):
            one.note(method, 0.9 if method == "uptime" and now_s == 300.0 else 0.001, now_s)
            if method == "getrawaddrman" and now_s:
                begun.append(now_s)
        now_s += 5.0
    gaps = [later - before for before, later in pairwise(begun)]
    assert max(gaps) <= 700, "it comes back once the calls fit again"
    assert min(gaps) >= 500
    assert len(begun) >= 5


def test_vital_calls_never_wait_beyond_two_minutes() -> None:
    one = schedule()
    begun, _ = run(one, {"getpeerinfo": 9.0, "getblockchaininfo": 9.0, "uptime": 9.0}, 10.0)
    for method in ("getpeerinfo", "getblockchaininfo", "uptime"):
        steps = [later - now for now, later in zip(begun[method], begun[method][1:], strict=False)]
        assert max(steps) <= LONGEST_S[VITAL] + 30
        assert present_s(one, method) == LONGEST_S[VITAL]
    assert present_s(one, "getrawaddrman") == LONGEST_S[COSTLY]


def test_a_vital_call_that_is_configured_rare_stays_so() -> None:
    one = schedule(intervals={"getpeerinfo": 600.0})
    one.note("getpeerinfo", 60.0, 0.0)
    assert present_s(one, "getpeerinfo") == 600.0


def test_the_slow_call_is_named_from_a_stretch_of_three() -> None:
    one = schedule()
    assert one.slow() == ("", 1.0)
    one.note("getrawaddrman", 10.0, 0.0)
    assert one.slow()[0] == ""
    one.note("getrawaddrman", 25.0, 0.0)
    name, stretch = one.slow()
    assert name == "getrawaddrman"
    assert stretch >= SLOW
    for _ in range(40):
        one.note("getrawaddrman", 0.5, 0.0)
    assert one.slow()[0] == ""


def test_a_slow_vital_call_is_named_though_others_are_stretched_further() -> None:
    one = schedule()
    one.note("getrawaddrman", 0.5, 0.0)
    one.note("getpeerinfo", 2.0, 0.0)
    assert one.slow()[0] == "getpeerinfo"
    assert stretches(one)["getrawaddrman"] > stretches(one)["getpeerinfo"]


def test_one_late_answer_is_not_reported_and_three_in_a_row_are() -> None:
    one = schedule()
    for method in ("getblockchaininfo", "uptime", "getpeerinfo", "getrawaddrman"):
        one.note(method, 0.002, 0.0)
    one.note("getblockchaininfo", 1.5, 30.0)
    assert stretches(one)["getrawaddrman"] > SLOW, "the budget holds all the same"
    assert one.slow()[0] == ""
    one.note("getblockchaininfo", 1.5, 60.0)
    assert one.slow()[0] == ""
    one.note("getblockchaininfo", 1.5, 90.0)
    assert one.slow()[0] == "getblockchaininfo"


def test_a_refused_call_is_left_out_until_its_time() -> None:
    one = schedule()
    one.due(0.0)
    one.shut("getnettotals", 600.0)
    assert "getnettotals" not in one.due(100.0)
    assert "getnettotals" in one.due(700.0)
    one.shut("getnettotals", 9_999.0)
    one.open_all()
    assert "getnettotals" in one.due(800.0)
    for method in ALL:
        one.shut(method, 2_000.0)
    assert not one.due(1_999.0)


def test_a_call_that_could_not_be_made_is_due_again() -> None:
    one = schedule()
    due = one.due(10.0)
    assert not one.due(11.0)
    one.hurry(due[3:], 12.0)
    assert one.due(12.0) == due[3:]
