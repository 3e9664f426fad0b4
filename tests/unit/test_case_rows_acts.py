"""Operators' acts in the pipeline of a running service: rows at once, both books, the house, kills and quiet input."""

from __future__ import annotations

import queue
from collections.abc import Sequence
from dataclasses import replace

import pytest

from alerts.case.acts import CaseAct, CaseVerb
from alerts.case.document import StoredCase
from alerts.case.feed import CaseFeed, NodeCases
from alerts.case.house import HOUSE, HouseFeed
from rules.load import load_text
from tests.support.case_rig import START_NS, made_finding, shipped_words
from tests.support.rulesets import FULL_MEMPOOL
from tests.support.scripted_feed import SECOND, START, Said, VirtualClock, mempool, scripted
from tests.unit.test_case_rows import full, pipeline, silent
from watchdog.core.durations import MINUTE_NS
from watchdog.core.source import SourceOptions
from watchdog.pipeline.checkpoint import Checkpoint
from watchdog.service.engine_thread import Bundle, EngineLoop
from watchdog.service.feed import Feed
from watchdog.service.live_pipeline import LivePipeline


@pytest.fixture(autouse=True)
def said(monkeypatch: pytest.MonkeyPatch) -> Said:
    return scripted(monkeypatch)


def act(case: str, verb: CaseVerb, second: float, number: int = 1, node: str = "alice") -> CaseAct:
    return CaseAct(number, case, node, verb, "anna", "why", "", START + int(second * SECOND))


def take(watch: LivePipeline, acts: list[CaseAct]) -> None:
    """As the engine's thread does, which makes a checkpoint in between."""
    watch.case_rows.acts.take(acts)
    watch.case_rows.acts.settle()


def story(row: StoredCase) -> list[object]:
    lines = row.document["story"]
    assert isinstance(lines, list)
    return [one["what"] for one in lines]


def opened() -> tuple[LivePipeline, StoredCase]:
    watch = pipeline()
    (row,) = full(watch, 0, 5, 30, 120)
    return watch, row


def test_an_act_waits_for_its_time_in_the_checkpoint_and_its_row_follows_at_once() -> None:
    watch, row = opened()
    take(watch, [act(row.id, "ack", 150)])
    assert watch.case_rows.take() == []
    assert (watch.case_rows.acts.taken, watch.case_rows.acts.wait) == (1, True)
    again = pipeline()
    again.resume(watch.checkpoint(["capture:a"], ""))
    assert (again.case_rows.acts.taken, again.case_rows.acts.wait) == (1, True)
    (acted,) = full(again, 160, 170)
    assert (acted.state, story(acted), acted.waiting) == ("acknowledged", ["acknowledged"], ())
    assert not again.case_rows.acts.wait


def test_an_act_is_taken_once() -> None:
    watch, row = opened()
    for _ in range(2):
        take(watch, [act(row.id, "note", 10)])
    (acted,) = watch.case_rows.take()
    assert story(acted) == ["note"]
    assert acted.taken == 1


def test_an_act_on_another_node_is_only_counted() -> None:
    watch, row = opened()
    take(watch, [act(row.id, "note", 10, node="bob")])
    assert watch.case_rows.take() == []
    assert watch.case_rows.acts.taken == 1


def test_quiet_input_does_not_hold_an_act_for_ever() -> None:
    watch, row = opened()
    take(watch, [act(row.id, "resolve", 300)])
    watch.hurry()
    watch.case_rows.acts.settle()
    (acted,) = watch.case_rows.take()
    assert (acted.state, watch.case_rows.acts.wait) == ("resolved", False)


def test_a_case_of_findings_by_the_wall_clock_takes_acts_too() -> None:
    watch = pipeline()
    watch.own_findings(silent)
    watch.advance_own(START + 120 * SECOND)
    (row,) = watch.case_rows.take()
    take(watch, [act(row.id, "ack", 130)])
    assert watch.case_rows.take() == []
    watch.advance_own(START + 131 * SECOND)
    (acted,) = watch.case_rows.take()
    assert (acted.state, story(acted)) == ("acknowledged", ["acknowledged"])
    assert watch.case_rows.seen.bounds.get("acts_unknown", 0) == 0


def test_an_act_that_is_ahead_of_its_case_after_a_kill_finds_it_on_the_way() -> None:
    watch, row = opened()
    killed = pipeline()
    full(killed, 0)
    take(killed, [act(row.id, "ack", 121)])
    acted = full(killed, 5, 30, 120, 130, 140)[-1]
    assert (acted.id, acted.state, story(acted)) == (row.id, "acknowledged", ["acknowledged"])
    assert watch.case_rows.acts.taken == 0


def test_a_case_of_the_house_takes_acts() -> None:
    house = HouseFeed(shipped_words())
    cases = NodeCases(house, CaseFeed(HOUSE, shipped_words()))
    finding = made_finding("ping-flood", ["91.165.48.111"], 0)
    house.take(finding.time_ns, "i", replace(finding, node=HOUSE))
    mark = START_NS + 2 * MINUTE_NS
    house.reach([mark], [mark])
    (picture,) = cases.pictures()
    cases.take_act(CaseAct(1, picture.life.id, HOUSE, "ack", "anna", "", "", mark + 1))
    house.reach([mark + 10], [mark + 10])
    assert picture.life.acknowledged_by == "anna"


def test_an_empty_pipeline_takes_slices_after_an_act_on_no_case() -> None:
    watch = pipeline()
    take(watch, [act("0" * 16, "ack", 1)])
    watch.process(mempool("capture:a", 0, 1))
    watch.process(mempool("capture:a", 60, 1))
    watch.hurry()
    watch.case_rows.acts.settle()
    assert watch.case_rows.take() == []


class Life:
    """One life of an engine over a scripted source, resumed from a checkpoint; the bundles wait in `out`."""

    def __init__(self, said: Said, slices: Sequence[tuple[float, int]], saved: Checkpoint | None = None) -> None:
        self.clock, self.out = VirtualClock(), queue.Queue[Bundle]()
        at = saved.positions["snapshots:a"]["at"] if saved is not None else -1.0
        assert isinstance(at, float | int)
        said["snapshots:a"] = [mempool("snapshots:a", second, many) for second, many in slices if second > at]
        feed = Feed(["snapshots:a"], SourceOptions(follow=True), self.clock)
        feed.open(saved.positions if saved is not None else {})
        self.watch = LivePipeline(load_text(FULL_MEMPOOL), "alice", feed.kinds)
        if saved is not None:
            self.watch.resume(saved)
        self.loop = EngineLoop(self.watch, feed, self.out, self.clock, every_s=3_600.0)

    def run(self, steps: int) -> list[Bundle]:
        """Step, ten seconds each when the source is quiet; return the bundles of these steps."""
        for _ in range(steps):
            idle_s = self.loop.counts.idle_s
            self.loop._wake.set()
            self.loop.step()
            self.clock.now += 10.0 if self.loop.counts.idle_s != idle_s else 0.0
        found = list(self.out.queue)
        self.out.queue.clear()
        return found


def notices_in(bundles: Sequence[Bundle], id_: str) -> list[object]:
    """The notices of a case as its last row has them."""
    rows = [row for bundle in bundles for row in bundle.cases if row.id == id_]
    found = rows[-1].document["notices"] if rows else []
    assert isinstance(found, list)
    return found


def test_an_act_counts_at_the_same_time_after_a_kill_wherever_it_comes(said: Said) -> None:
    first, later = [(0, 500), (5, 500), (30, 500), (120, 500)], [(150, 1), (200, 500), (290, 500), (2_000, 500)]
    life = Life(said, first)
    before = life.run(6)
    (row,) = {row.id for bundle in before for row in bundle.cases}
    life.loop.act((), [act(row, "ack", 300)])
    acted = life.run(8)  # the source is quiet, so the act counts at the latest event
    assert [one["reason"] for one in notices_in(acted, row)] == ["opened", "acknowledged"]  # type: ignore[index]
    assert any(bundle.checkpoint for bundle in acted), "saved first"
    reached = next(number for number, bundle in enumerate(acted) if notices_in([bundle], row) == notices_in(acted, row))
    saved = [bundle.checkpoint for bundle in acted[:reached] if bundle.checkpoint is not None][-1]
    again = Life(said, [*first, *later], saved)
    again.loop.act((), [act(row, "ack", 300)])  # fetched again, and taken once
    final = notices_in(again.run(20), row)
    assert final[:2] == notices_in(acted, row)
