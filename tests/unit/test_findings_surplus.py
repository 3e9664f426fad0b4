"""Keys beyond a pane's limit: which ones get a finding, what is said of the others, and when that ends."""

from __future__ import annotations

import random
from typing import Any

import pytest

from alerts.book import IncidentBook
from alerts.incident import Incident
from tests.support.events import SECOND, batch, one_slice
from tests.support.rulesets import plans
from watchdog.core.finding import OVERFLOW, Finding
from watchdog.core.kinds import ALL_KINDS
from watchdog.engine.engine import Engine

KIND = "net:inbound_message"
RULE = """
rules:
  many:
    {title: t, attack: message-anomaly, severity: info, on: net:inbound_message, by: [peer_addr], incident: [peer_addr],
     measure: {n: count(), bytes: sum(size)}, over: 10s, pane: 10s, fire: n >= 1 or bytes > 1000,
     escalate: {high: bytes > 5000}, resolve_after: 1m, summary: "{n}"}
"""


def _rows(count: int, start: int = 0, **own: dict[str, Any]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [{"t": start + 1, "peer_addr": f"10.0.{n >> 8}.{n & 255}"} for n in range(count)]
    return [{**row, **own.get(row["peer_addr"].replace(".", "_"), {})} for row in rows]


def _told(engine: Engine, rows: list[dict[str, Any]], until: int) -> list[Finding]:
    random.Random(1).shuffle(rows)
    return engine.process(one_slice([batch(KIND, rows)] if rows else [], until))


def _names(found: list[Finding], change: str = "fire") -> set[str]:
    return {one.key["peer_addr"] for one in found if "peer_addr" in one.key and one.change == change}


def _common(found: list[Finding]) -> list[tuple[int, str, int]]:
    return [(one.time_ns // SECOND, one.change, one.stands_for) for one in found if one.key == OVERFLOW]


def _incidents(found: list[Finding]) -> list[Incident]:
    book = IncidentBook()
    for one in found:
        book.apply(one)
    book.drain()
    return book.table.incidents()


def test_the_most_severe_and_the_largest_are_kept_wherever_their_keys_sort() -> None:
    rows = _rows(700)
    for row in rows:
        row["size"] = {"10.0.2.187": 6_000, "10.0.2.186": 4_000}.get(row["peer_addr"], 0)
    found = _told(Engine(plans(RULE), {"hand": ALL_KINDS}), rows, 10)
    kept = _names(found)
    assert len(kept) == 500
    assert {"10.0.2.187", "10.0.2.186"} <= kept, "the last keys by their text"
    assert next(one for one in found if one.key.get("peer_addr") == "10.0.2.187").severity == "high"


def test_the_common_incident_carries_the_true_count_of_keys_that_fired() -> None:
    engine = Engine(plans(RULE), {"hand": ALL_KINDS})
    found = _told(engine, _rows(701), 10)
    assert _common(found) == [(10, "fire", 701)]
    incidents = _incidents(found)
    (common,) = [one for one in incidents if one.key == OVERFLOW]
    assert (len(incidents), common.members, common.measures) == (501, 701, {"unlisted": 201})
    assert common.summary.endswith("too many at once for an incident each: 201 more, 701 in all")
    assert engine.usage.findings_cut() == {"many": 201}


def test_the_count_is_true_where_a_rule_has_no_room_for_more_incidents_either() -> None:
    """10,000 keys in ten panes that stay: 500 a pane are kept, and from the third pane on these share an incident."""
    engine, found = Engine(plans(RULE.replace("over: 10s", "over: 10m")), {"hand": ALL_KINDS}), []
    for pane in range(10):
        rows = [{"t": pane * 10 + 1, "peer_addr": f"10.{pane}.{n >> 8}.{n & 255}"} for n in range(1_000)]
        found += _told(engine, rows, pane * 10 + 10)
    (common,) = [one for one in _incidents(found) if one.key == OVERFLOW]
    assert common.members == 10_000
    assert engine.usage.findings_cut() == {"many": 5_000}


def test_nothing_is_said_of_the_end_of_a_key_of_which_nothing_was_said() -> None:
    engine = Engine(plans(RULE), {"hand": ALL_KINDS})
    found = [*_told(engine, _rows(701), 10), *_told(engine, [], 30)]
    assert _names(found, "clear") == _names(found)
    assert _common(found) == [(10, "fire", 701), (20, "clear", 0)]
    book = IncidentBook()
    for one in found:
        book.apply(one)
    book.advance(200 * SECOND)
    assert {one.state for one in book.table.incidents()} == {"resolved"}
    assert book.counters["unmatched"] == 0


def test_a_key_that_gets_its_finding_later_fires_then_and_every_key_is_counted_once() -> None:
    text = RULE.replace("over: 10s", "over: 1m")
    engine, found = Engine(plans(text), {"hand": ALL_KINDS}), []
    for start in range(0, 300, 10):
        found += _told(engine, _rows(700, start), start + 10)
    opened = [one.key["peer_addr"] for one in found if one.change == "fire" and "peer_addr" in one.key]
    assert len(opened) == len(set(opened)) > 650, "each pane draws its own lots"
    assert sum(one.stands_for for one in found) == 700
    late = next(one for one in found if one.change == "fire" and one.time_ns > 10 * SECOND and one.key != OVERFLOW)
    assert late.since_ns == 10 * SECOND


def test_lots_follow_the_secret_and_are_the_same_after_a_kill() -> None:
    def kept(secret: bytes, *, killed: bool = False) -> set[str]:
        engine = Engine(plans(RULE), {"hand": ALL_KINDS}, secret=secret)
        engine.process(one_slice([batch(KIND, _rows(700))], 5))
        if killed:
            blob = engine.snapshot()
            engine = Engine(plans(RULE), {"hand": ALL_KINDS}, secret=b"another")
            engine.restore(blob)
        return _names(engine.process(one_slice([], 10)))

    assert kept(b"a" * 32) == kept(b"a" * 32, killed=True)
    assert len(kept(b"a" * 32) & kept(b"b" * 32)) < 450, "357 of 500 are expected by chance"


def test_a_kill_in_the_middle_changes_nothing() -> None:
    slices = [one_slice([batch(KIND, _rows(650 + start, start))], start + 10) for start in range(0, 100, 10)]
    slices.append(one_slice([], 200))
    whole = Engine(plans(RULE), {"hand": ALL_KINDS})
    expected = [one for part in slices for one in whole.process(part)]
    engine, found = Engine(plans(RULE), {"hand": ALL_KINDS}), []
    for part in slices:
        found += engine.process(part)
        blob = engine.snapshot()
        engine = Engine(plans(RULE), {"hand": ALL_KINDS})
        engine.restore(blob)
    assert found == expected
    assert engine.usage.findings_cut() == whole.usage.findings_cut()


@pytest.mark.parametrize(
    ("fire", "strengths"),
    [
        ("n > 5", ["(n / 5)"]),
        ("5 < n and bytes >= 2 * 500", ["(n / 5)", "(bytes / 1000)"]),
        ("n > 0 and bytes < 7", []),
        ("not n > 4 or bytes > 10", ["(bytes / 10)"]),
        ("share > 0.5", ["(share / 0.5)"]),
        ("flooded", ["(n / 3)"]),
    ],
)
def test_strength_is_a_measure_relative_to_its_constant(fire: str, strengths: list[str]) -> None:
    from watchdog.engine.finding_words import strengths_of

    (plan,) = plans(
        RULE.replace("fire: n >= 1 or bytes > 1000,", f"fire: {fire},").replace(
            "sum(size)}", "sum(size), share: bytes / n, flooded: n > 3}"
        )
    )
    values: dict[str, Any] = {"n": 12, "bytes": 24, "share": 2.0}
    expected = [eval(text, {}, values) for text in strengths]
    assert [float(one(dict(values))) for one in strengths_of(plan)] == expected
