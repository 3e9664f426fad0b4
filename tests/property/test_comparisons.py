"""`unlike_others` in the engine: the same findings for any split and kill, those of a plain loop, none over a gap."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest

from detectors.unlike import unlike_others
from tests.support.events import SECOND, batch, one_slice
from tests.support.rulesets import plans
from watchdog.core.batch import Slice
from watchdog.core.finding import Finding
from watchdog.core.kinds import ALL_KINDS
from watchdog.engine.engine import Engine

KIND = "net:inbound_message"
RULES = """
rules:
  odd-one:
    title: one peer does more
    attack: message-anomaly
    severity: info
    on: net:inbound_message
    by: [conn]
    measure:
      pings: count(type == "ping")
      invs: count(type == "inv")
      odd: unlike_others(pings floor 3, invs floor 10, among=direction, least=5, threshold=6)
    over: 30s
    pane: 10s
    fire: odd
    summary: "{conn} {odd_measure} {odd_value} {odd_median} {odd_peers}"
    resolve_after: 1m
"""
UNTIL = 300


def story(seed: int) -> list[dict[str, object]]:
    """Five minutes of twelve peers; now and then one of them floods; some leave."""
    chance = random.Random(seed)
    rows: list[dict[str, object]] = []
    for second in range(UNTIL):
        for conn in range(12):
            if conn > 8 and second > 150:
                continue
            loud = conn == (second // 60) and second % 60 < 20
            for _ in range(9 if loud else chance.random() < 0.2):
                type_ = "ping" if loud or chance.random() < 0.5 else "inv"
                way = "in" if conn % 4 else "out"
                rows.append({"t": second + chance.random(), "conn": conn, "type": type_, "direction": way})
    return sorted(rows, key=lambda row: float(str(row["t"])))


def slices(rows: list[dict[str, object]], size: int) -> list[Slice]:
    made = []
    for at in range(0, len(rows), size):
        part = rows[at : at + size]
        later = rows[at + size :]
        made.append(one_slice([batch(KIND, part)], float(str(later[0]["t"])) - 1e-6 if later else UNTIL))
    return made


def findings(rows: list[dict[str, object]], size: int, *, kill: bool = False) -> list[Finding]:
    engine = Engine(plans(RULES), {"hand": ALL_KINDS})
    found: list[Finding] = []
    for part in slices(rows, size):
        found += engine.process(part)
        if kill:
            again = Engine(plans(RULES), {"hand": ALL_KINDS})
            again.restore(engine.snapshot())
            engine = again
    return [*found, *engine.finish()]


def naive(rows: list[dict[str, object]]) -> set[tuple[int, str]]:
    """(end of pane in seconds, connection) of every pane in which a connection is odd, by a plain loop."""
    odd = set()
    for end in range(10, UNTIL + 1, 10):
        window = [row for row in rows if end - 30 <= float(str(row["t"])) < end]
        for way in ("in", "out"):
            own = [row for row in window if row["direction"] == way]
            counts = {name: Counter(str(r["conn"]) for r in own if r["type"] == name) for name in ("ping", "inv")}
            conns = sorted({str(row["conn"]) for row in own})
            if len(conns) < 5:
                continue
            values = np.array([[counts["ping"][conn], counts["inv"][conn]] for conn in conns], float)
            score = unlike_others(values, np.array([3.0, 10.0]), least=5).score
            odd |= {(end, conn) for conn, high in zip(conns, score > 6, strict=True) if high}
    return odd


@pytest.mark.parametrize("seed", range(4))
def test_splits_and_kills_change_nothing(seed: int) -> None:
    rows = story(seed)
    whole = findings(rows, len(rows))
    assert len([one for one in whole if one.change == "fire"]) >= 2
    for size in (1, 7, 100):
        assert findings(rows, size) == whole
    assert findings(rows, 50, kill=True) == whole


@pytest.mark.parametrize("seed", range(4))
def test_a_key_fires_and_clears_where_a_plain_loop_says_so(seed: int) -> None:
    rows = story(seed)
    expected, seen, since = naive(rows), set(), {}
    changes = {(one.time_ns // SECOND, one.key["conn"]): one.change for one in findings(rows, 100)}
    for end in range(10, UNTIL + 1, 10):
        for conn in map(str, range(12)):
            change = changes.get((end, conn))
            if change == "fire":
                since[conn] = end
            elif change == "clear":
                since.pop(conn)
            if conn in since:
                seen.add((end, conn))
    assert seen == expected


def test_a_window_with_a_gap_gives_no_verdict() -> None:
    rows = story(1)
    gap = {"t": 0.0, "from_ns": 0, "to_ns": UNTIL * SECOND, "lost": 1, "reason": "x", "kinds": ""}
    engine = Engine(plans(RULES), {"hand": ALL_KINDS})
    found = engine.process(one_slice([batch("source:gap", [gap]), batch(KIND, rows)], UNTIL))
    assert [*found, *engine.finish()] == []
