"""Rules over findings in the service: silent and failed sources, kills, first starts, reloads; on a virtual clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from alerts.notice import ChangeRecord
from rules.load import load_text
from tests.support.scripted_feed import SECOND, START, Said, VirtualClock, drained, feed_of, mempool, scripted
from watchdog.core.errors import SourceError
from watchdog.offline.record import RecordOptions, record
from watchdog.pipeline.checkpoint import read_checkpoint, write_checkpoint
from watchdog.service.feed import Feed
from watchdog.service.live_pipeline import LivePipeline
from watchdog.service.metrics import group_times

TEXT = """
rules:
  full:
    {title: Mempool is full, attack: resource, severity: warning, on: rpc:mempool, over: 10s, pane: 1s,
     measure: {most: max(txs)}, fire: most > 100, resolve_after: 1m, summary: "{most}"}
  bad:
    {title: Peer misbehaves, attack: message-anomaly, severity: warning, on: log:misbehaving, over: 10s, pane: 1s,
     measure: {n: count()}, fire: n > 0, resolve_after: 1m, summary: "{n}"}
  any:
    {title: Something fires, attack: eclipse, severity: high, on: finding:fire, over: 60s, pane: 1s,
     measure: {n: count(), rules: distinct(rule)}, fire: n > 0, escalate: {critical: n > 1}, resolve_after: 1m,
     summary: "{n} of {rules}"}
"""
RULES = load_text(TEXT)
POLLS, LOG = "snapshots:a", "log:b"


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Said:
    return scripted(monkeypatch)


def run(watch: LivePipeline, feed: Feed, clock: VirtualClock, seconds: int) -> list[ChangeRecord]:
    """Advance the clock second by second, and pass on all that the feed gives."""
    records = []
    for _ in range(seconds):
        records += [one for part in drained(feed) for one in watch.process(part)]
        clock.now += 1.0
    return records


def told(records: Sequence[ChangeRecord], rule: str = "any") -> list[tuple[str, int]]:
    return [
        (one.change.reason.value, (one.change.time_ns - START) // SECOND)
        for one in records
        if one.incident.rule == rule
    ]


def watched(*texts: str) -> tuple[LivePipeline, Feed, VirtualClock]:
    feed, clock = feed_of(*texts)
    return LivePipeline(RULES, "node", feed.kinds), feed, clock


def test_a_silent_source_does_not_hold_up_rules_over_findings_of_others(said: Said) -> None:
    said[POLLS], said[LOG] = [mempool(POLLS, second, 500) for second in range(10, 13)], []
    watch, feed, clock = watched(POLLS, LOG)
    records = run(watch, feed, clock, 30)
    assert told(records, "full")[0] == ("opened", 11)
    assert told(records)[0] == ("opened", 12)
    [incident] = [one.incident for one in records if one.incident.rule == "any"][:1]
    assert (incident.severity, incident.summary) == ("high", "1 of 1")
    assert any(evidence.kind == "finding:fire" for evidence in incident.evidence)


def test_metrics_have_each_series_once(said: Said) -> None:
    said[POLLS], said[LOG] = [mempool(POLLS, second, 500) for second in range(10, 13)], []
    watch, feed, clock = watched(POLLS, LOG)
    run(watch, feed, clock, 20)
    labels = [names for names, _ in group_times(watch.engine)]
    assert labels == [{"sources": LOG, "starts": ""}, {"sources": POLLS, "starts": ""}]
    one_source = LivePipeline(RULES, "node", {POLLS: frozenset({"rpc:mempool"})})
    one_source.process(mempool(POLLS, 10, 500))
    assert [names for names, _ in group_times(one_source.engine)] == [{"sources": POLLS, "starts": ""}]


def test_a_failed_source_does_not_hold_them_up_for_ever(said: Said) -> None:
    said[POLLS] = [mempool(POLLS, second, 500) for second in range(10, 13)]
    said[LOG] = [SourceError("cannot be read") for _ in range(500)]
    watch, feed, clock = watched(POLLS, LOG)
    early = run(watch, feed, clock, 20)
    assert told(early, "full")[0] == ("opened", 11)
    assert told(early) == []
    assert told(run(watch, feed, clock, 60))[0] == ("opened", 12), "the log is passed over after 30 s"


def test_after_a_kill_the_same_changes_come_again(said: Said, tmp_path: Path) -> None:
    slices = [mempool(POLLS, second, 500 * (second % 150 in (20, 22, 50, 52))) for second in range(10, 400, 2)]
    whole = LivePipeline(RULES, "node", {POLLS: frozenset({"rpc:mempool"})})
    expected = [one for part in slices for one in whole.process(part)]
    assert {reason for reason, _ in told(expected)} >= {"opened", "escalated", "cleared"}
    for killed_after in (3, 6, 7, 8, 24, 40, 77, 150):
        watch = LivePipeline(RULES, "node", {POLLS: frozenset({"rpc:mempool"})})
        before = [one for part in slices[:killed_after] for one in watch.process(part)]
        write_checkpoint(tmp_path / "checkpoint", watch.checkpoint([POLLS], ""))
        again = LivePipeline(RULES, "node", {POLLS: frozenset({"rpc:mempool"})})
        assert again.resume(read_checkpoint(tmp_path / "checkpoint")) == []
        assert again.restarted_rules == frozenset()
        after = [one for part in slices[killed_after:] for one in again.process(part)]
        assert [(one.key, one.change) for one in (*before, *after)] == [(one.key, one.change) for one in expected]


def test_incidents_from_before_a_first_start_are_held_back(said: Said) -> None:
    watch = LivePipeline(RULES, "node", {POLLS: frozenset({"rpc:mempool"})})
    watch.begin({POLLS: START + 150 * SECOND})
    before = [mempool(POLLS, second, 500 * (second < 20)) for second in range(10, 200, 2)]
    assert [one for part in before for one in watch.process(part)] == []
    after = [mempool(POLLS, second, 500) for second in range(400, 420, 2)]
    assert told([one for part in after for one in watch.process(part)])[0] == ("opened", 12), "as it opened at first"


def test_a_reload_restarts_rules_above_changed_ones_and_keeps_incidents(said: Said) -> None:
    said[POLLS], said[LOG] = [mempool(POLLS, second, 500) for second in range(10, 13)], []
    watch, feed, clock = watched(POLLS, LOG)
    opened = {one.incident.id for one in run(watch, feed, clock, 20) if one.incident.rule == "any"}
    watch.change_rules(load_text(TEXT.replace("> 100", "> 101")), feed.promises())
    assert watch.restarted_rules == {"full", "any"}
    said[POLLS] += [mempool(POLLS, second, 500) for second in range(40, 43)]
    records = run(watch, feed, clock, 20)
    assert told(records)
    assert {one.incident.id for one in records if one.incident.rule == "any"} == opened, "no second incident"


def test_findings_are_not_recorded(said: Said, tmp_path: Path) -> None:
    said[POLLS] = [replace(mempool(POLLS, 10), caught_up=True)]
    with pytest.raises(SourceError, match="findings are not recorded"):
        record([POLLS], tmp_path / "out", RecordOptions(frozenset({"finding:fire"}), None, "node", False, False))
    assert not (tmp_path / "out").exists()
