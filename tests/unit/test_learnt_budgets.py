"""Budgets in the engine: what is learnt and when it counts, whatever the batches and kills; when a detector waits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.support.events import SECOND, batch, one_slice
from tests.support.rulesets import plans
from watchdog.core.batch import Batch
from watchdog.core.finding import Finding
from watchdog.core.kinds import ALL_KINDS
from watchdog.core.moments import CLOCK
from watchdog.engine.budgets import BudgetFact
from watchdog.engine.coverage import DOWNLOAD_NS, Coverage
from watchdog.engine.engine import Engine

HEAD = "attack: message-anomaly, severity: warning, on: net:inbound_message, resolve_after: 1m"
COUNTS = f"""
rules:
  counts: {{title: counts, {HEAD}, over: 1m, pane: 1m, fire: odd,
    measure: {{n: sum(size), odd: 'anomalous(n, law="counts", floor=1, budget="1 per 30d")'}}}}
"""
PEERS = f"""
rules:
  peers: {{title: peers, {HEAD}, by: [conn], over: 5m, pane: 1m, fire: odd, summary: "{{conn}} {{odd_measure}}",
    measure: {{pings: count(type == "ping"), odd: 'unlike_others(pings floor 3, budget="1 per 30d")'}}}}
"""
MINUTE, DAY = 60, 86_400
Row = dict[str, Any]


def counts(values: np.ndarray[Any, Any]) -> list[Row]:
    """One event a minute with the count as its size."""
    return [{"t": minute * MINUTE + 30.0, "type": "ping", "size": int(n)} for minute, n in enumerate(values) if n]


def poisson(days: float, rate: float = 6.0, seed: int = 1) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).poisson(rate, int(days * 1_440))


def run(
    text: str, rows: list[Row], size: int = 5_000, *, kill: bool = False, extra: list[Batch] | None = None
) -> tuple[Engine, list[Finding]]:
    engine, found = Engine(plans(text), {"hand": ALL_KINDS}), []
    for at in range(0, len(rows), size):
        part, later = rows[at : at + size], rows[at + size :]
        until = float(later[0]["t"]) - 1e-6 if later else float(part[-1]["t"]) + 2 * MINUTE
        batches = [batch("net:inbound_message", part), *((extra or []) if not at else [])]
        found += engine.process(one_slice(batches, until=until))
        if kill:
            again = Engine(plans(text), {"hand": ALL_KINDS})
            again.restore(engine.snapshot())
            engine = again
    return engine, found


def fact(engine: Engine) -> BudgetFact:
    [one] = engine.budgets.facts()
    return one


def started(*seconds: float) -> Batch:
    return batch("node:started", [{"t": second} for second in seconds])


def bursty(days: int) -> np.ndarray[Any, Any]:
    """Counts with a minute of up to 18 more every twelve hours or so."""
    values, chance = poisson(days), np.random.default_rng(5)
    for at in np.cumsum(chance.integers(400, 1_000, 2 * days)).tolist():
        if at < len(values):
            values[at] += int(chance.integers(4, 19))
    return values


@pytest.mark.parametrize(("size", "kill"), [(7, False), (10_000_000, False), (1_999, True)])
def test_batches_and_kills_change_neither_findings_nor_what_is_learnt(size: int, kill: bool) -> None:
    rows = counts(bursty(4))
    engine, found = run(COUNTS, rows)
    other, again = run(COUNTS, rows, size, kill=kill)
    assert found == again
    assert fact(engine) == fact(other)
    assert fact(engine).peaks > 20
    assert found


def test_a_threshold_changes_at_the_first_hour_of_a_day_only() -> None:
    rows = counts(bursty(2))
    engine, thresholds = Engine(plans(COUNTS), {"hand": ALL_KINDS}), set()
    for row in rows[: int(1_440 * 0.9)]:
        engine.process(one_slice([batch("net:inbound_message", [row])], until=row["t"] + 1))
        thresholds.add(fact(engine).threshold)
    assert len(thresholds) == 1
    assert fact(engine).provisional


def test_bursts_raise_the_threshold_of_a_law_and_quiet_does_not_lower_it_below_the_law() -> None:
    assert fact(run(COUNTS, counts(poisson(6)))[0]).threshold == pytest.approx(4.64, abs=0.25)
    uneven = poisson(8)
    uneven[range(100, len(uneven), 75)] += 9
    one = fact(run(COUNTS, counts(uneven))[0])
    assert one.shipped < one.threshold <= 1.5 * one.shipped
    assert one.low < one.threshold <= one.high
    assert not one.provisional


def test_a_short_attack_every_two_days_does_not_raise_the_threshold() -> None:
    calm = poisson(12)
    poisoned = calm.copy()
    for begin in range(700, len(poisoned), 2 * 1_440):
        poisoned[begin : begin + 10] += 60
    quiet, attacked = (fact(run(COUNTS, counts(values))[0]) for values in (calm, poisoned))
    assert attacked.threshold <= quiet.threshold + 0.1
    found = run(COUNTS, counts(poisoned))[1]
    assert len([one for one in found if one.change == "fire" and one.severity == "warning"]) == 6


def test_a_recording_that_begins_inside_an_attack_speaks_of_the_next_one() -> None:
    values = poisson(3)
    values[:45] += 300
    values[4_000:4_010] += 300
    found = run(COUNTS, counts(values))[1]
    assert any(one.change == "fire" and 4_000 <= one.time_ns / SECOND / MINUTE <= 4_003 for one in found)


def test_a_false_alarm_counts_from_the_next_hour_and_is_taken_back() -> None:
    rows = counts(poisson(1.5))
    engine, _ = run(COUNTS, rows[:1_000])
    assert engine.budgets.mark("counts", "a" * 16, {"odd": 9.0}, 1_010 * MINUTE * SECOND)
    assert fact(engine).false_alarms == 0
    tail = engine.process(one_slice([batch("net:inbound_message", rows[1_000:1_100])], until=1_100 * MINUTE))
    assert not tail
    marked = fact(engine)
    assert (marked.false_alarms, marked.threshold > marked.shipped) == (1, True)
    engine.budgets.mark("counts", "a" * 16, {}, 1_110 * MINUTE * SECOND)
    engine.process(one_slice([batch("net:inbound_message", rows[1_100:1_200])], until=1_200 * MINUTE))
    assert fact(engine).false_alarms == 0
    assert not engine.budgets.mark("no-such-rule", "a" * 16, {"odd": 9.0}, 0)


@pytest.mark.parametrize("kill_at", [1_020, 1_070])
def test_a_mark_survives_a_kill(kill_at: int) -> None:
    rows, facts = counts(poisson(1)), []
    for kills in (False, True):
        engine, _ = run(COUNTS, rows[:1_000])
        engine.budgets.mark("counts", "a" * 16, {"odd": 9.0}, 1_010 * MINUTE * SECOND)
        engine.process(one_slice([batch("net:inbound_message", rows[1_000:kill_at])], until=kill_at * MINUTE))
        if kills:
            again = Engine(plans(COUNTS), {"hand": ALL_KINDS})
            again.restore(engine.snapshot())
            engine = again
            engine.budgets.mark("counts", "a" * 16, {"odd": 9.0}, 1_010 * MINUTE * SECOND)  # the service may repeat it
        engine.process(one_slice([batch("net:inbound_message", rows[kill_at:1_200])], until=1_200 * MINUTE))
        facts.append(fact(engine))
    assert facts[0] == facts[1]
    assert facts[0].false_alarms == 1


def test_many_marks_are_bounded_and_stay_finite() -> None:
    engine, _ = run(COUNTS, counts(poisson(0.5)))
    for number in range(3_000):
        engine.budgets.mark("counts", f"{number:016x}", {"odd": 1e300}, 0)
    rows = [{**row, "t": row["t"] + DAY // 2} for row in counts(poisson(0.2))]
    engine.process(one_slice([batch("net:inbound_message", rows)], until=0.75 * DAY))
    assert fact(engine).false_alarms <= 1_000
    assert np.isfinite(fact(engine).threshold)


def test_anomalous_waits_half_an_hour_after_a_start_and_says_until_when() -> None:
    values = poisson(0.2)
    values[112:114] += 300  # 12 minutes after the start
    values[160:162] += 300
    rows = counts(values)
    engine, found = run(COUNTS, rows, extra=[started(100 * MINUTE)])
    assert [one.time_ns // SECOND // MINUTE for one in found if one.change == "fire"] == [161]
    early, _ = run(COUNTS, [row for row in rows if row["t"] < 115 * MINUTE], extra=[started(100 * MINUTE)])
    assert fact(early).waits == "until 02:10 UTC"
    assert fact(engine).waits == ""


def test_initial_download_gives_no_verdict() -> None:
    values = poisson(0.2)
    values[120:122] += 300
    values[180:182] += 300
    polls = [{"t": 90.0 * MINUTE, "ibd": True}, {"t": 150.0 * MINUTE, "ibd": False}]
    engine, found = run(COUNTS, counts(values), extra=[batch("rpc:chain", polls)])
    assert [one.time_ns // SECOND // MINUTE for one in found if one.change == "fire"] == [181]
    assert fact(engine).waits == ""


@pytest.mark.parametrize("restarted", [False, True])
def test_a_download_that_peers_prolong_silences_no_detector_for_ever(restarted: bool) -> None:
    coverage = Coverage(["rpc:a"])
    coverage.see(batch("rpc:chain", [{"t": 60.0, "ibd": True}, {"t": 9.0 * 24 * 3600, "ibd": True}]))
    if restarted:
        saved, coverage = coverage.state(), Coverage(["rpc:a"])
        coverage.restore(saved)
    begun_ns = 60 * SECOND
    ends = np.array([begun_ns + SECOND, begun_ns + DOWNLOAD_NS - SECOND, begun_ns + DOWNLOAD_NS + SECOND], np.int64)
    _, downloads = coverage.guards()
    assert downloads.among(ends).tolist() == [True, True, False]


def test_a_gap_gives_no_verdict_and_teaches_nothing() -> None:
    values = poisson(0.2)
    values[120] += 300
    gap = batch("source:gap", [{"t": 119.0 * MINUTE, "from_ns": 119 * MINUTE * SECOND, "to_ns": 122 * MINUTE * SECOND}])
    _, found = run(COUNTS, counts(values), extra=[gap])
    assert not [one for one in found if one.change == "fire"]


def peers(minutes: int, number: int, loud: tuple[int, ...] = (), begin: int = 0) -> list[Row]:
    """Pings of peers, two a minute each; in the minutes `loud` peer 0 sends a hundred."""
    rows = []
    for minute in range(begin, minutes):
        for conn in range(number):
            for ping in range(100 if minute in loud and not conn else 2):
                row = {"t": minute * MINUTE + 0.01 * ping + conn, "conn": conn, "type": "ping", "direction": "in"}
                rows.append(row)
    return sorted(rows, key=lambda row: float(row["t"]))


def test_peers_are_compared_when_eight_have_been_there_for_one_window_after_a_start() -> None:
    few, many = peers(40, 6), peers(80, 12, loud=(43, 60), begin=40)
    engine, found = run(PEERS, [*few, *many], extra=[started(30 * MINUTE)])
    fires = [one.time_ns // SECOND // MINUTE for one in found if one.change == "fire"]
    assert fires == [46, 61], "loud in minute 43; eight peers since minute 41 make a window at 46"
    assert fact(engine).waits == ""
    assert fact(run(PEERS, few, extra=[started(30 * MINUTE)])[0]).waits == "for 8 keys"


def test_a_node_with_three_peers_gives_no_verdict_and_learns_nothing() -> None:
    engine, found = run(PEERS, peers(120, 3, loud=(60, 61, 62)))
    assert not found
    assert (fact(engine).watched_ns, fact(engine).peaks) == (0, 0)


def test_a_restart_with_a_checkpoint_is_no_start() -> None:
    rows = peers(60, 12, loud=(41,))
    whole = run(PEERS, rows)[1]
    assert [one.change for one in whole].count("fire") == 1
    assert run(PEERS, rows, 300, kill=True)[1] == whole


def test_a_finding_says_how_rare_it_is_and_never_a_bare_chance() -> None:
    values = poisson(0.3)
    values[300] += 300
    [fire] = [one for one in run(COUNTS, counts(values))[1] if one.change == "fire"]
    assert fire.summary.endswith("(rarer than once in 300 days on this node)")
    assert fire.measures["odd_once_in_days"] == 300
    assert fire.measures["odd_score"] > 4.64


def test_clocks_that_jump_by_years_cost_no_walk_through_their_hours() -> None:
    rows = counts(poisson(0.2))
    later = [{**row, "t": row["t"] + 10 * 365 * DAY} for row in rows]
    engine, _ = run(COUNTS, [*rows, *later])
    assert np.isfinite(fact(engine).threshold)


def test_a_damaged_state_is_refused() -> None:
    engine, _ = run(COUNTS, counts(poisson(0.2)))
    group = next(one for one in engine._engines if one.budgets.of_rule)
    for name, value in (("whole", np.zeros((0, 4), np.int64)), ("parts", np.full((1, 2), np.nan)), ("open", [0, 1e9])):
        state = group.budgets.state()
        saved = state["tails"]["counts"]["odd"]
        saved["tail"] = {**saved["tail"], name: value}
        with pytest.raises(ValueError, match=r"no panes|no scores|length"):
            group.budgets.restore(state)


FROZEN = f"""
rules:
  learner: {{title: a, {HEAD}, over: 1m, pane: 1m, fire: odd and n > 1000000,
    measure: {{n: sum(size), odd: 'anomalous(n, floor=5, threshold=5, half_life=1h, freeze_at_most=2h)'}}}}
  fixed: {{title: b, {HEAD}, over: 2m, pane: 1m, fire: FIRE, measure: {{n: MEASURE}}}}
"""


def expected_after(measure: str, fire: str = "n > 35", *, hours: float = 1.5, size: int = 5_000) -> float:
    """What the baseline expects after a slow flood, which is below its threshold and above the fixed rule's."""
    values = np.full(int(60 * (2 + hours)), 10)
    values[120:] = np.minimum(10 + np.arange(len(values) - 120), 18)
    rows = counts(values)
    engine, _ = run(FROZEN.replace("MEASURE", measure).replace("FIRE", fire), rows, size, kill=size == 13)
    [window] = [one for group in engine._engines for one in group.windows if one.learns]
    baseline = window._verdicts[0].learning._baselines[0]
    return float(baseline.law.expected(baseline.learnt.mean)[0])


def test_an_incident_of_a_fixed_rule_on_the_same_measure_freezes_the_baseline() -> None:
    free = expected_after("sum(size)", "n > 1000000")
    frozen = expected_after("sum(size)")
    assert frozen < free - 2
    assert expected_after("sum(size)", size=7) == expected_after("sum(size)", size=13) == frozen


@pytest.mark.parametrize("measure", ["count() * 20", "sum(size where size > 1)", "max(size) * 3"])
def test_another_measure_freezes_nothing(measure: str) -> None:
    assert expected_after(measure) == expected_after("sum(size)", "n > 1000000")


def test_it_freezes_no_longer_than_freeze_at_most() -> None:
    assert expected_after("sum(size)", hours=4) > expected_after("sum(size)") + 5


def test_a_tail_outlives_changes_of_other_rules_and_not_of_its_own() -> None:
    rows, beside = counts(bursty(3)), COUNTS.rstrip() + COUNTS.replace("counts:", "other:").replace("\nrules:\n", "\n")
    engine, _ = run(COUNTS, rows)
    blob, learnt = engine.snapshot(), fact(engine)
    more = Engine(plans(beside), {"hand": ALL_KINDS})
    more.restore(blob)
    [kept, fresh] = more.budgets.facts()
    assert (kept.rule, kept.peaks, kept.threshold) == ("counts", learnt.peaks, learnt.threshold)
    assert (fresh.rule, fresh.peaks) == ("other", 0)
    for changed in (COUNTS.replace("1 per 30d", "1 per 20d"), COUNTS.replace("over: 1m", "over: 2m")):
        other = Engine(plans(changed), {"hand": ALL_KINDS})
        other.restore(blob)
        assert fact(other).peaks == 0


def test_a_clock_that_is_set_right_keeps_what_was_learnt() -> None:
    rows = [{**row, "t": row["t"] + 40 * DAY} for row in counts(bursty(3))]
    engine, _ = run(COUNTS, rows)
    peaks = fact(engine).peaks
    to_ns = 30 * DAY * SECOND
    gap = batch("source:gap", [{"t": 43.0 * DAY, "from_ns": to_ns, "to_ns": to_ns, "reason": CLOCK}])
    engine.process(one_slice([gap], until=30 * DAY))
    assert engine.restarted
    assert fact(engine).peaks == peaks > 20
