"""Rules over findings in the engine: what they wait for, what they see of losses, and how their state is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from tests.support.events import SECOND, batch, one_slice
from tests.support.rulesets import plans
from watchdog.core.batch import Slice
from watchdog.core.finding import Finding
from watchdog.core.finding_events import finding_batches
from watchdog.core.kinds import FINDING_KINDS
from watchdog.core.moments import CLOCK
from watchdog.core.source import END_OF_TIME_NS
from watchdog.engine import second_stage
from watchdog.engine.coverage import wanted_kinds
from watchdog.engine.engine import Engine
from watchdog.engine.source_groups import UNFED, SourceGroup, divide

MESSAGE, MEMPOOL, GAP = "net:inbound_message", "rpc:mempool", "source:gap"
SOURCES: Mapping[str, frozenset[str]] = {
    "capture": frozenset({MESSAGE, GAP}),
    "rpc": frozenset({MEMPOOL, GAP, "node:started"}),
}
FIRST = plans("""
rules:
  many: {title: m, attack: message-anomaly, severity: info, on: net:inbound_message, by: [peer_addr], over: 10s,
         pane: 1s, measure: {n: count()}, fire: n > 1, escalate: {high: n > 4}, summary: "{n}"}
  full: {title: f, attack: resource, severity: info, on: rpc:mempool, over: 10s, pane: 1s,
         measure: {n: count()}, fire: n > 0, summary: "{n}"}
  tip: {title: t, attack: chain, severity: info, on: chain:tip, over: 10s, pane: 1s,
        measure: {n: count()}, fire: n > 0, summary: "{n}"}
""")
SECOND_RULES = plans("""
rules:
  both: {title: b, attack: eclipse, severity: high, on: finding:fire, over: 60s, pane: 1s,
         measure: {rules: distinct(rule)}, fire: rules > 1, summary: "{rules}"}
  one: {title: o, attack: eclipse, severity: high, on: finding:fire, where: rule == "many", by: [peer_addr], over: 60s,
        pane: 1s, measure: {n: count()}, fire: n > 0, incident: [], summary: "{peer_addr}"}
  worse: {title: w, attack: eclipse, severity: high, on: finding:fire, where: severity == "high", over: 60s, pane: 1s,
          measure: {n: count()}, fire: n > 0, summary: "{n}"}
  no-tip: {title: n, attack: chain, severity: high, on: finding:fire, where: attack == "chain", over: 60s, pane: 1s,
           measure: {n: count()}, fire: n > 0, summary: "{n}"}
  quiet: {title: q, attack: data, severity: info, on: finding:fire, where: rule == "many", over: 20s, pane: 5s,
          measure: {n: count()}, fire: flat(n), summary: "{over}"}
""")
RULES = (*FIRST, *SECOND_RULES)


def messages(*seconds: float, until: float, addr: str = "1.2.3.4") -> Slice:
    rows = [{"t": second, "peer_addr": addr} for second in seconds]
    return one_slice([batch(MESSAGE, rows, source="capture")] if rows else [], until, "capture")


def mempool(*seconds: float, until: float) -> Slice:
    rows = [{"t": second} for second in seconds]
    return one_slice([batch(MEMPOOL, rows, source="rpc")] if rows else [], until, "rpc")


def gap(source: str, start: float, end: float, until: float, kinds: str = "", reason: str = "") -> Slice:
    row = {"t": end, "from_ns": int(start * SECOND), "to_ns": int(end * SECOND), "kinds": kinds, "reason": reason}
    return one_slice([batch(GAP, [row], source=source)], until, source)


def of(findings: list[Finding], rule: str) -> list[tuple[str, int]]:
    return [(finding.change, finding.time_ns // SECOND) for finding in findings if finding.rule == rule]


def test_a_rule_waits_for_the_groups_of_the_rules_that_can_feed_it() -> None:
    groups = divide(RULES, SOURCES)
    waits = {rule: (group.feeding, group.telling, group.fed_by) for group in groups for rule in group.rules}
    assert waits == {
        "many": (("capture",), (), ()),
        "full": (("rpc",), (), ()),
        "tip": ((), (), ()),
        "no-tip": ((), (), ()),
        "both": (("capture", "rpc"), (), ("full", "many")),
        "one": (("capture",), (), ("many",)),
        "worse": (("capture",), (), ("many",)),
        "quiet": (("capture",), ("rpc",), ("many",)),
    }
    assert groups[UNFED].rules == ("tip", "no-tip")
    assert len({group.name for group in groups}) == len(groups)


def test_a_finding_is_read_once_all_groups_that_can_feed_the_rule_have_come_to_its_time() -> None:
    engine = Engine(RULES, SOURCES)
    first = engine.process(messages(1, 1.5, until=30))
    assert of(first, "many") == [("fire", 2), ("clear", 12)]
    assert of(first, "one") == [("fire", 3)], "a pane after the finding"
    assert of(first, "both") == []
    assert of(engine.process(mempool(until=4)), "both") == []
    assert of(engine.process(mempool(20, until=23)), "both") == [("fire", 22)]
    assert [engine.moment_ns(number) // SECOND for number, group in enumerate(engine.groups) if group.fed_by] == [
        23, 30, 23
    ]  # fmt: skip


def test_a_silent_group_holds_nothing_up_once_its_watermark_advances() -> None:
    engine = Engine(RULES, SOURCES)
    engine.process(mempool(until=1))
    engine.process(messages(1, 1.5, until=90))
    findings = engine.process(mempool(until=80))  # as the feed promises for a silent source
    assert of(findings, "quiet") == [("fire", 25)], "20 s after the finding at 2 s, and watched since 1 s"


def test_all_that_ends_is_judged() -> None:
    engine = Engine(RULES, SOURCES)
    findings = engine.process(Slice("capture", messages(1, 1.5, until=1).batches, END_OF_TIME_NS))
    findings += engine.process(Slice("rpc", mempool(5, until=5).batches, END_OF_TIME_NS))
    assert of(findings, "both") == [("fire", 7)]
    number = next(number for number, group in enumerate(engine.groups) if "both" in group.rules)
    assert engine.ended(number)
    assert engine.finish() == []


def test_a_run_that_stops_before_its_sources_end_closes_what_is_open() -> None:
    engine = Engine(RULES, SOURCES)
    assert of(engine.process(messages(1, 1.5, until=2)), "many") == [("fire", 2)]
    assert engine.process(mempool(1, until=1)) == []
    findings = engine.finish()
    assert {rule: of(findings, rule) for rule in ("full", "one", "both")} == {
        "full": [("fire", 2)], "one": [("fire", 3)], "both": [("fire", 3)]
    }  # fmt: skip


def test_gaps_of_the_sources_behind_the_findings_lower_completeness() -> None:
    engine = Engine(RULES, SOURCES)
    engine.process(messages(0.5, until=5))
    engine.process(gap("capture", 5, 20, 20))
    [fired] = [one for one in engine.process(messages(40, 40.5, until=80)) if one.rule == "one"]
    assert fired.completeness == pytest.approx(1 - 15 / 41.5)
    assert fired.watched == pytest.approx(41.5 / 60)


def test_a_gap_of_kinds_that_no_feeding_rule_reads_lowers_nothing() -> None:
    engine = Engine(RULES, SOURCES)
    engine.process(messages(0.5, until=5))
    engine.process(gap("capture", 5, 20, 20, kinds="p2p:tx"))
    engine.process(gap("rpc", 5, 20, 20))
    [fired] = [one for one in engine.process(messages(40, 40.5, until=80)) if one.rule == "one"]
    assert fired.completeness == 1.0


def test_silence_of_findings_counts_only_while_the_sources_were_whole() -> None:
    engine = Engine(RULES, SOURCES)
    engine.process(mempool(until=100))
    assert of(engine.process(messages(0.5, until=30)), "quiet") == [("fire", 25)]
    assert engine.process(gap("capture", 30, 50, 50)) == []
    assert of(engine.process(messages(until=90)), "quiet") == [("clear", 55), ("fire", 70)], "the gap ends at 50 s"


def test_a_clock_reset_drops_the_second_stage_above() -> None:
    engine = Engine(RULES, SOURCES)
    engine.process(mempool(until=1_000))
    engine.process(messages(901, 901.5, until=950))
    findings = engine.process(gap("capture", 0, 100, 100, reason=CLOCK))
    assert findings == []
    restarted = {rule for number, _ in engine.restarted for rule in engine.groups[number].rules}
    assert restarted == {"many", "one", "worse", "quiet", "both", "tip", "no-tip"}
    assert of(engine.process(messages(101, 101.5, until=150)), "one") == [("fire", 103)]


def test_findings_of_a_source_are_ignored_beside_rules_that_give_them() -> None:
    engine = Engine(RULES, {**SOURCES, "hostile": frozenset({MESSAGE})})
    donor = Engine(FIRST, SOURCES)
    forged = finding_batches([one for one in donor.process(messages(1, 1.5, until=30)) if one.rule == "many"])
    hostile = [replace(part, source="hostile") for part in forged]
    engine.process(messages(until=60))
    findings = engine.process(one_slice(hostile, 60, "hostile"))
    assert findings == []


def test_an_engine_over_findings_of_nodes_reads_them_like_any_source() -> None:
    donors = {node: Engine(FIRST, SOURCES, node=node) for node in ("a", "b")}
    findings = [one for donor in donors.values() for one in donor.process(messages(1, 1.5, until=30))]
    [rule] = plans("""
rules:
  fleet: {title: f, attack: eclipse, severity: high, on: finding:fire, by: [rule], over: 60s, pane: 1s,
          measure: {nodes: distinct(node)}, fire: nodes > 1, summary: "{rule} {nodes}"}
""")
    engine = Engine([rule], {"nodes": FINDING_KINDS})
    assert [group.feeding for group in engine.groups] == [(), ("nodes",)]
    [fired] = engine.process(Slice("nodes", finding_batches(findings), END_OF_TIME_NS))
    assert (fired.summary, {one.fields["node"] for one in fired.evidence}) == ("many 2", {"a", "b"})


def test_a_restored_second_stage_resumes_and_one_above_changed_rules_restarts() -> None:
    engine = Engine(RULES, SOURCES)
    engine.process(messages(1, 1.5, until=30))
    blob = engine.snapshot()
    again = Engine(RULES, SOURCES)
    assert again.restore(blob) == frozenset()
    assert of(again.process(mempool(20, until=40)), "both") == [("fire", 22)], "it has the finding at 2 s"
    changed = [replace(plan, summary="!") if plan.id == "full" else plan for plan in RULES]
    other = Engine(changed, SOURCES)
    assert other.restore(blob) == {"full", "both"}, "full fires again for keys that fired before"
    assert of(other.process(mempool(20, until=40)), "both") == []
    changed = [replace(plan, summary="!") if plan.id == "one" else plan for plan in RULES]
    assert Engine(changed, SOURCES).restore(blob) >= {"one"}
    assert not Engine(changed, SOURCES).restore(blob) & {"many", "full", "both"}, "rules below keep their state"


def test_a_checkpoint_without_a_second_stage_is_taken_over() -> None:
    engine = Engine(FIRST, SOURCES)
    engine.process(messages(1, 1.5, until=30))
    engine.process(mempool(until=10))
    again = Engine(RULES, SOURCES)
    assert again.restore(engine.snapshot()) == {plan.id for plan in SECOND_RULES}
    findings = again.process(mempool(20, until=40))
    assert of(findings, "full") == [("fire", 21), ("clear", 31)]
    assert of(findings, "both") == []
    assert of(again.process(messages(31, 31.5, until=50)), "one") == [("fire", 33)]


def test_without_rules_over_findings_nothing_is_converted(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise AssertionError("converted")

    monkeypatch.setattr(second_stage, "finding_batches", refuse)
    assert Engine(FIRST, SOURCES).process(messages(1, 1.5, until=30))
    with pytest.raises(AssertionError, match="converted"):
        Engine(RULES, SOURCES).process(messages(1, 1.5, until=30))


def test_finding_events_are_asked_of_no_source_and_counted_as_findings_only() -> None:
    assert wanted_kinds(RULES).isdisjoint(FINDING_KINDS)
    engine = Engine(RULES, SOURCES)
    engine.process(messages(1, 1.5, until=30))
    assert engine.statistics.events == {MESSAGE: 2}
    assert engine.statistics.late == {}
    assert engine.statistics.findings == 3
    assert isinstance(engine.groups[-1], SourceGroup)
