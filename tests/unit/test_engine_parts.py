"""Which rules wait for which sources, and that nothing is counted twice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from alerts.books import IncidentBooks
from rules.load import load
from tests.support.events import SECOND, batch, one_slice
from tests.support.rulesets import plans
from watchdog.core.batch import Slice
from watchdog.core.errors import SourceError, StateError
from watchdog.core.kinds import ALL_KINDS
from watchdog.core.source import END_OF_TIME_NS, SourceOptions
from watchdog.engine.engine import Engine
from watchdog.engine.source_groups import UNFED, divide
from watchdog.pipeline.pipeline import Pipeline
from watchdog.sources.capture import source as capture
from watchdog.sources.log import source as debuglog
from watchdog.sources.registry import kinds_of, open_sources
from watchdog.sources.rpc import snapshots_source as snapshots

MESSAGE = "net:inbound_message"
SOURCES: Mapping[str, frozenset[str]] = {
    "capture:c": frozenset({MESSAGE, "p2p:ping", "source:gap"}),
    "log:l": frozenset({"log:misbehaving", "node:started", "source:gap"}),
}
TEXT = """
rules:
  many: {title: m, attack: message-anomaly, severity: info, on: net:inbound_message, over: 10s, pane: 1s,
         measure: {n: count()}, fire: n > 1, resolve_after: 30s, summary: "{n}"}
  silent: {title: s, attack: chain, severity: info, on: p2p:ping, over: 10s, pane: 5s,
           measure: {n: count()}, fire: flat(n), resolve_after: 30s, summary: "{over}"}
  bad: {title: b, attack: message-anomaly, severity: info, on: log:misbehaving, over: 10s, pane: 1s,
        measure: {n: count()}, fire: n > 0, resolve_after: 30s, summary: "{n}"}
  tip: {title: t, attack: chain, severity: info, on: chain:tip, over: 10s, pane: 1s,
        measure: {n: count()}, fire: flat(n), resolve_after: 30s, summary: "{n}"}
"""
RULES = plans(TEXT)


def messages(*seconds: float, until: float, source: str = "capture:c", kind: str = MESSAGE) -> Slice:
    batches = [batch(kind, [{"t": second} for second in seconds], source=source)] if seconds else []
    return one_slice(batches, until, source)


def test_rules_with_the_same_sources_are_one_part() -> None:
    parts = divide(RULES, SOURCES)
    assert [(part.feeding, part.telling, part.rules) for part in parts] == [
        ((), (), ("tip",)),
        (("log:l",), (), ("bad",)),
        (("capture:c",), (), ("many",)),
        (("capture:c",), ("log:l",), ("silent",)),
    ]
    assert len(divide(RULES, {"events:e": ALL_KINDS})) == 2, (
        "a source that may give anything feeds all, and reports starts"
    )
    assert divide((), {}) == (parts[UNFED].__class__((), (), ()),)


def test_the_shipped_rules_on_captures_wait_for_the_capture_alone() -> None:
    sources = {"capture:c": capture.KINDS, "log:l": debuglog.KINDS, "snapshots:s": snapshots.KINDS}
    waiting = {rule: part.sources for part in divide(load([], packs=True).plans, sources) for rule in part.rules}
    assert waiting["addr-beyond-limit"] == waiting["ping-flood"] == ("capture:c",)
    assert waiting["connection-churn"] == ("capture:c", "log:l")
    assert waiting["eclipse-inbound-group"] == ("snapshots:s",)
    assert waiting["block-gap"] == waiting["addr-inflow"] == ("capture:c", "log:l", "snapshots:s")


def test_a_part_does_not_wait_for_other_sources_and_does_not_hear_of_their_gaps() -> None:
    engine = Engine(RULES, SOURCES)
    gap = {"t": 0, "from_ns": 0, "to_ns": 60 * SECOND, "lost": 7}
    engine.process(one_slice([batch("source:gap", [gap], source="log:l")], 1, "log:l"))
    [found] = engine.process(messages(0, 20, 20.5, until=40))[:1]
    assert (found.rule, found.time_ns // SECOND, found.completeness) == ("many", 21, 1.0)
    assert engine.watermark_ns == SECOND, "the log is far behind"


def test_silence_waits_for_sources_that_can_tell_of_a_start() -> None:
    engine = Engine(RULES, SOURCES)
    assert engine.process(messages(0, until=30, kind="p2p:ping")) == []
    started = engine.process(messages(12, until=40, source="log:l", kind="node:started"))
    assert [(one.rule, one.time_ns // SECOND) for one in started] == [("silent", 25)], "10 s after the start"


def test_what_several_parts_read_is_counted_once() -> None:
    two = TEXT.replace("on: log:misbehaving", "on: [log:misbehaving, net:inbound_message]")
    engine = Engine(plans(two), SOURCES)
    engine.process(messages(1, 2, 30, until=30))
    engine.process(messages(5, 31, until=32))
    gap = {"t": 32, "from_ns": 32 * SECOND, "to_ns": 33 * SECOND, "lost": 7}
    engine.process(one_slice([batch("source:gap", [gap], source="capture:c")], 40, "capture:c"))
    assert engine.statistics.events == {MESSAGE: 4, "source:gap": 1}
    assert engine.statistics.late == {MESSAGE: 1}
    assert engine.lost == 7
    for source in SOURCES:  # small batches wait until a pane can close
        engine.process(one_slice([], 40, source))
    assert engine.usage.key_counts()["node"]["live"] >= 2
    assert set(engine.usage.rule_seconds()) == {"many", "silent", "bad", "tip"}


def test_a_source_that_was_not_named_is_an_error() -> None:
    with pytest.raises(ValueError, match="'log:x' is not one"):
        Engine(RULES, SOURCES).process(messages(1, until=2, source="log:x"))


def test_a_part_whose_sources_have_ended_knows_no_more_than_its_last_event() -> None:
    engine = Engine(RULES, SOURCES)
    number = [part.rules for part in engine.groups].index(("many",))
    engine.process(Slice("capture:c", messages(1, 7, until=7).batches, END_OF_TIME_NS))
    assert (engine.ended(number), engine.moment_ns(number)) == (True, 7 * SECOND)
    assert (engine.ended(UNFED), engine.moment_ns(UNFED)) == (False, 0)
    engine.process(messages(until=50, source="log:l"))
    assert engine.moment_ns(UNFED) == 50 * SECOND


def test_a_restored_part_resumes_and_a_changed_one_restarts() -> None:
    engine = Engine(RULES, SOURCES)
    engine.process(messages(1, until=2))
    engine.process(messages(1, until=2, source="log:l", kind="log:misbehaving"))
    blob = engine.snapshot()
    changed = [replace(plan, summary="!") if plan.id == "bad" else plan for plan in RULES]
    again = Engine(changed, SOURCES)
    assert again.restore(blob) == {"bad"}
    assert [one.rule for one in again.process(messages(5, until=40))] == ["many", "many"], "one before, one after"
    later = again.process(messages(until=40, source="log:l"))
    assert {one.rule for one in later} == {"silent"}, "what was bad before is forgotten"
    less = Engine(RULES, {"capture:c": SOURCES["capture:c"]})
    assert less.restore(blob) == {"many", "silent", "bad"}, "many and silent are one part now"
    assert less.watermark_ns == 2 * SECOND, "a removed source delays no rule"
    with pytest.raises(StateError):
        again.restore(blob[:-9])


def test_incidents_move_with_their_rules() -> None:
    course = Pipeline(Engine(RULES, SOURCES))
    course.process(messages(1, 1.5, until=4))
    course.process(messages(1, until=4, source="log:l", kind="log:misbehaving"))
    before = [(one.id, one.rule) for one in course.books.incidents()]
    assert len(before) == 2
    one = IncidentBooks.restore(course.books.snapshot(), {"other": ("many",)})
    assert [(found.id, found.rule) for found in one.incidents()] == before
    assert one[0].now_ns == 4 * SECOND
    cleared = one.clear_others({"many"})
    (change,) = cleared
    incident = one.incident(change.id)
    assert incident is not None
    assert incident.rule == "bad"
    assert [change.reason.value for change in one[0].advance(60 * SECOND)] == ["resolved"]
    with pytest.raises(StateError, match="incident books"):
        IncidentBooks.restore(b"\x93", {})


def test_a_source_gives_the_kinds_that_its_name_says() -> None:
    recording = "recording:demo/recording"
    found = open_sources([recording], SourceOptions())
    try:
        assert {source.name.partition(":")[0] for source in found} == {"capture", "snapshots", "log"}
        for source in found:
            assert source.kinds == kinds_of(source.name)
    finally:
        for source in found:
            source.close()
    for wrong in ("events:any", "evnts:any", "any"):
        with pytest.raises(SourceError):
            kinds_of(wrong)
