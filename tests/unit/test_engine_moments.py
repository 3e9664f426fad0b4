"""What the engine says and when: single moments, drawn on a time line."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.support.events import SECOND, batch, one_slice
from tests.support.rulesets import plans
from watchdog.core.errors import StateError
from watchdog.core.finding import Finding
from watchdog.core.kinds import ALL_KINDS
from watchdog.engine.engine import Engine

MESSAGE, PING = "net:inbound_message", "p2p:ping"

HEAD = "title: t, attack: message-anomaly, severity: info, resolve_after: 1m"


def _rule(body: str, name: str = "one") -> str:
    return "rules:\n  " + name + ": {" + HEAD + ", " + body + "}\n"


def _feed(engine: Engine, rows: list[dict[str, Any]], until: float, kind: str = MESSAGE) -> list[Finding]:
    return engine.process(one_slice([batch(kind, rows)] if rows else [], until))


def _told(findings: list[Finding]) -> list[tuple[int, str, str]]:
    return [(found.time_ns // SECOND, found.change, found.severity) for found in findings]


def test_a_finding_escalates_refreshes_and_clears_once_each() -> None:
    # seconds  0      60     120    180
    # count    3      .      +4     .        window 100 s, pane 1 s
    # told     fire          escalate, update once a window, clear when fewer than three are left
    rule = (
        "on: net:inbound_message, measure: {n: count()}, "
        'over: 100s, pane: 1s, fire: n >= 3, escalate: {high: n > 5}, summary: "{n}"'
    )
    engine = Engine(plans(_rule(rule)), {"hand": ALL_KINDS})
    rows = [{"t": t} for t in (0, 1, 2, 80, 81, 82, 83)]
    told = _told(_feed(engine, rows, 300))
    assert [one for one in told if one[1] != "update"] == [
        (3, "fire", "info"),
        (83, "escalate", "high"),
        (182, "clear", "high"),
    ]
    assert [one for one in told if one[1] == "update"] == [(103, "update", "high")]


def test_a_condition_must_hold_for_as_long_as_the_rule_says() -> None:
    # seconds  0   10  20  30  40  50
    # count    x       x   x   x   x        over 10 s, for 20 s
    # told                     ^ held since 20 s
    rule = (
        'on: net:inbound_message, measure: {n: count()}, over: 10s, pane: 10s, fire: n >= 1, for: 20s, summary: "{n}"'
    )
    engine = Engine(plans(_rule(rule)), {"hand": ALL_KINDS})
    told = _told(_feed(engine, [{"t": t} for t in (1, 21, 31, 41, 51)], 60))
    assert told == [(50, "fire", "info")]


def _counts(engine: Engine, counts: list[int]) -> list[tuple[int, str, str]]:
    """What is said of so many messages in each ten seconds, without updates."""
    rows = [{"t": 10 * at + 1} for at, number in enumerate(counts) for _ in range(number)]
    return [one for one in _told(_feed(engine, rows, 10 * len(counts))) if one[1] != "update"]


PATIENT = (
    "on: net:inbound_message, measure: {n: count()}, over: 10s, pane: 10s, "
    'fire: n >= 3, clear: n == 1, for: 20s, summary: "{n}"'
)


def test_for_counts_while_fire_holds_and_pauses_between_fire_and_clear() -> None:
    # seconds  0   10  20  30  40  50  60
    # count    3   2   3   3   2   1   .
    # for      1   .   2   ^   .   clear
    # two pass between the first three and the fire: panes in which `fire` is false do not count
    assert _counts(Engine(plans(_rule(PATIENT)), {"hand": ALL_KINDS}), [3, 2, 3, 3, 2, 1, 1]) == [
        (40, "fire", "info"),
        (60, "clear", "info"),
    ]
    assert _counts(Engine(plans(_rule(PATIENT)), {"hand": ALL_KINDS}), [3, 2, 2, 2, 2, 2, 3]) == []
    assert _counts(Engine(plans(_rule(PATIENT)), {"hand": ALL_KINDS}), [3, 3, 1, 3, 3, 2, 1]) == []


def test_events_that_end_while_for_counts_fire_nothing() -> None:
    # seconds  0   10  20 ......... 600  610  620
    # count    3   3                3    3
    # for      1   2   nothing comes: neither counts nor clears, as the rule asks for an event
    rule = PATIENT.replace("clear: n == 1", "clear: n == 1 and not flat(n)")
    engine = Engine(plans(_rule(rule)), {"hand": ALL_KINDS})
    assert _counts(engine, [3, 3, *[0] * 58]) == []
    rows = [{"t": t} for t in (601, 602, 603)]
    (found,) = _feed(engine, rows, 620)
    assert (found.time_ns // SECOND, found.change, found.since_ns // SECOND) == (610, "fire", 10)


FLAT = 'on: p2p:ping, measure: {pings: count()}, over: 30s, pane: 5s, fire: flat(pings), summary: "no ping for {over}"'


def test_absence_is_told_once_the_whole_window_was_seen() -> None:
    # seconds  0 ... 20 ........ 50
    # pings    x  x  x  .........          window 30 s
    # told                        ^ nothing since 20 s
    engine = Engine(plans(_rule(FLAT)), {"hand": ALL_KINDS})
    told = _told(_feed(engine, [{"t": t} for t in (0, 10, 20)], 100, PING))
    assert told == [(55, "fire", "info")]


def test_absence_may_be_a_measure_of_its_own() -> None:
    rule = FLAT.replace("pings: count()", "pings: count(), silent: flat(pings)").replace("flat(pings), s", "silent, s")
    engine = Engine(plans(_rule(rule)), {"hand": ALL_KINDS})
    assert _told(_feed(engine, [{"t": t} for t in (0, 10, 20)], 100, PING)) == [(55, "fire", "info")]


def test_absence_is_told_of_a_kind_that_never_came() -> None:
    engine = Engine(plans(_rule(FLAT)), {"hand": ALL_KINDS})
    gap = {"t": 0, "from_ns": 0, "to_ns": 0}
    assert _told(engine.process(one_slice([batch("source:gap", [gap])], 60))) == [(30, "fire", "info")]


def test_a_clock_that_jumps_by_decades_is_not_walked_through() -> None:
    # pings    0 10 20 s ... nothing ... 60 years later
    # told                ^ once, long before; and cleared by the ping after it
    engine = Engine(plans(_rule(FLAT)), {"hand": ALL_KINDS})
    far = 60 * 365 * 86_400
    found = _feed(engine, [{"t": t} for t in (0, 10, 20, far)], far + 60, PING)
    told = [one for one in _told(found) if one[1] != "update"]
    assert told == [(55, "fire", "info"), (far + 5, "clear", "info"), (far + 35, "fire", "info")]


def test_absence_is_not_told_over_a_gap() -> None:
    # seconds  0   20          60          90
    # pings    x x x  [ gap 25-60 ]
    # told                                 ^ a window without the gap
    engine = Engine(plans(_rule(FLAT)), {"hand": ALL_KINDS})
    gap = {"t": 25, "from_ns": 25 * SECOND, "to_ns": 60 * SECOND, "lost": 7}
    events = [batch(PING, [{"t": t} for t in (0, 10, 20)]), batch("source:gap", [gap])]
    assert _told(engine.process(one_slice(events, 120))) == [(90, "fire", "info")]


def test_absence_is_not_told_over_a_restart_of_the_node() -> None:
    engine = Engine(plans(_rule(FLAT)), {"hand": ALL_KINDS})
    # seconds  0 10 20 30 40  41 restarted .... 75
    # told                                      ^ 30 s after the start
    events = [batch(PING, [{"t": t} for t in range(0, 41, 10)]), batch("node:started", [{"t": 41}])]
    assert _told(engine.process(one_slice(events, 100))) == [(75, "fire", "info")]


def test_a_surge_is_told_and_the_baseline_is_not_poisoned_by_it() -> None:
    # minutes  0 .......... 40 ..... 80
    # rate     ~1/s          50/s           baseline learnt for 30 min
    # told                   ^ for as long as it lasts: the surge is not learnt
    rule = (
        "on: net:inbound_message, measure: {n: count(), per_s: rate(n), "
        "odd: 'anomalous(per_s, floor=0.5, threshold=5, half_life=6h, warmup=30m, step=1m)'}, "
        'over: 5m, pane: 1m, fire: odd, summary: "{per_s}"'
    )
    engine = Engine(plans(_rule(rule)), {"hand": ALL_KINDS})
    rows = [{"t": t} for t in range(2_400)] + [{"t": 2_400 + t / 50} for t in range(50 * 2_400)]
    told = _told(_feed(engine, rows, 4_800))
    assert told[0][1] == "fire"
    assert 2_400 < told[0][0] <= 2_640
    assert "clear" not in [change for _, change, _ in told]


def test_rows_behind_their_source_are_counted_and_left_out() -> None:
    rule = 'on: net:inbound_message, measure: {n: count()}, over: 10s, fire: n >= 2, summary: "{n}"'
    engine = Engine(plans(_rule(rule)), {"hand": ALL_KINDS})
    _feed(engine, [{"t": 20}], 30)
    assert _told(_feed(engine, [{"t": 25}, {"t": 26}, {"t": 40}], 60)) == []
    assert engine.statistics.late == {MESSAGE: 2}
    assert engine.statistics.events == {MESSAGE: 2}


def test_panes_wait_for_the_slowest_source() -> None:
    rule = 'on: net:inbound_message, measure: {n: count()}, over: 10s, fire: n >= 2, summary: "{n}"'
    engine = Engine(plans(_rule(rule)), {"left": ALL_KINDS, "right": ALL_KINDS})
    left = one_slice([batch(MESSAGE, [{"t": 5}], source="left")], 100, "left")
    right = one_slice([batch(MESSAGE, [{"t": 6}], source="right")], 100, "right")
    assert engine.process(left) == []
    assert _told(engine.process(right))[0] == (7, "fire", "info")


def test_a_group_is_named_first_and_its_peers_by_their_share() -> None:
    rule = (
        "on: net:inbound_message, by: [netgroup], measure: {n: count()}, "
        'over: 1m, fire: n >= 4, summary: "{netgroup}: {n}"'
    )
    engine = Engine(plans(_rule(rule)), {"hand": ALL_KINDS})
    peers = ["1.2.0.1"] + ["1.2.0.2"] * 3
    rows = [{"t": t, "peer_addr": peer, "netgroup": "1.2.0.0/16"} for t, peer in enumerate(peers)]
    found = _feed(engine, rows, 30)[0]
    assert found.entities == ("1.2.0.0/16", "1.2.0.2", "1.2.0.1")
    assert found.key == {"netgroup": "1.2.0.0/16"}
    assert found.summary == "1.2.0.0/16: 4"
    assert [one.time_ns // SECOND for one in found.evidence] == [0, 1, 2, 3]


def test_findings_of_peers_come_together_under_their_netgroup() -> None:
    rule = 'on: net:inbound_message, by: [conn], measure: {n: count()}, over: 1m, fire: n >= 2, summary: "{peer_addr}"'
    engine = Engine(plans(_rule(rule)), {"hand": ALL_KINDS})
    rows = [
        {"t": t, "conn": conn, "peer_addr": f"1.2.0.{conn}", "netgroup": "1.2.0.0/16"}
        for t, conn in enumerate([7, 8, 7, 8])
    ]
    found = _feed(engine, rows, 30)
    assert [one.entities for one in found] == [("1.2.0.7", "1.2.0.0/16"), ("1.2.0.8", "1.2.0.0/16")]
    assert {tuple(one.incident.items()) for one in found} == {(("netgroup", "1.2.0.0/16"),)}


def test_connections_of_two_sources_are_two_keys() -> None:
    rule = 'on: net:inbound_message, by: [conn], measure: {n: count()}, over: 1m, fire: n >= 2, summary: "{conn}"'
    engine = Engine(plans(_rule(rule)), {"left": ALL_KINDS, "right": ALL_KINDS})
    engine.process(one_slice([batch(MESSAGE, [{"t": 1, "conn": 3}], source="left")], 100, "left"))
    assert engine.process(one_slice([batch(MESSAGE, [{"t": 2, "conn": 3}], source="right")], 100, "right")) == []


def test_what_peers_wrote_is_escaped_and_never_a_template() -> None:
    rule = 'on: p2p:unknown, by: [type], measure: {n: count()}, over: 1m, fire: n >= 1, summary: "type {type}: {n}"'
    engine = Engine(plans(_rule(rule)), {"hand": ALL_KINDS})
    found = _feed(engine, [{"t": 1, "type": "{n}\x1b[31m\u202e"}], 30, "p2p:unknown")[0]
    assert found.summary == "type {n}\\x1b[31m\\u{202e}: 1"
    assert "\x1b" not in str(found.evidence)


def test_completeness_says_how_much_of_the_window_was_seen() -> None:
    rule = 'on: net:inbound_message, measure: {n: count()}, over: 100s, pane: 10s, fire: n >= 2, summary: "{n}"'
    engine = Engine(plans(_rule(rule)), {"hand": ALL_KINDS})
    gap = {"t": 150, "from_ns": 120 * SECOND, "to_ns": 145 * SECOND}
    events = [batch(MESSAGE, [{"t": 0}, {"t": 190}, {"t": 191}]), batch("source:gap", [gap])]
    found = engine.process(one_slice(events, 300))[0]
    assert found.time_ns == 200 * SECOND
    assert found.completeness == pytest.approx(0.75)


def test_a_flood_of_keys_evicts_the_longest_idle_and_keeps_what_fires() -> None:
    text = _rule(
        'on: net:inbound_message, by: [peer_addr], measure: {n: count()}, over: 10m, fire: n >= 3, summary: "x"'
    )
    engine = Engine([replace(plan, max_keys=100) for plan in plans(text)], {"hand": ALL_KINDS})
    _feed(engine, [{"t": t, "peer_addr": "9.9.9.9"} for t in range(3)], 5)
    for step in range(20):
        rows = [{"t": 5 + step, "peer_addr": f"1.{step}.0.{n}"} for n in range(20)]
        _feed(engine, rows, 6 + step)
    counts = engine.usage.key_counts()["peer_addr"]
    assert counts["live"] <= 100
    assert counts["evicted"] > 0
    told = _told(_feed(engine, [], 3_600))
    assert told == [(610, "clear", "info")], "the firing key was not forgotten"


def test_rules_that_changed_start_without_the_state_of_a_checkpoint() -> None:
    rule = 'on: net:inbound_message, measure: {n: count()}, over: 10s, fire: n >= 2, summary: "{n}"'
    blob = Engine(plans(_rule(rule)), {"hand": ALL_KINDS}).snapshot()
    [plan] = plans(_rule(rule))
    assert Engine([plan], {"hand": ALL_KINDS}).restore(blob) == frozenset()
    assert Engine(plans(_rule(rule.replace(">= 2", ">= 3"))), {"hand": ALL_KINDS}).restore(blob) == {plan.id}


@pytest.mark.parametrize("at", [0, 9, 40, -1])
def test_a_damaged_checkpoint_is_refused(at: int) -> None:
    rule = 'on: net:inbound_message, measure: {n: count()}, over: 10s, fire: n >= 2, summary: "{n}"'
    engine = Engine(plans(_rule(rule)), {"hand": ALL_KINDS})
    blob = bytearray(engine.snapshot())
    blob[at] ^= 1
    with pytest.raises(StateError):
        engine.restore(bytes(blob))
    with pytest.raises(StateError):
        engine.restore(bytes(blob[: len(blob) // 2]))
