"""An act on a case has an effect once a checkpoint has it; while times are not trusted, nothing can be saved."""

from __future__ import annotations

import queue
from collections.abc import Sequence

import pytest

from alerts.case.act_queue import WAITING_ACTS
from alerts.case.acts import CaseAct
from rules.load import load_text
from tests.support.rulesets import FULL_MEMPOOL
from tests.support.scripted_feed import SECOND, START, Said, VirtualClock, mempool, scripted
from tests.unit.test_case_rows_acts import act
from watchdog.core.source import SourceOptions
from watchdog.pipeline.checkpoint import Checkpoint
from watchdog.service.engine_thread import Bundle, EngineLoop
from watchdog.service.feed import Feed
from watchdog.service.live_pipeline import LivePipeline

RULES = f"""{FULL_MEMPOOL.replace("fire:", "technique: full" + chr(10) + "    fire:")}
  fuller-mempool:
    title: Mempool is very full
    attack: resource
    severity: high
    on: rpc:mempool
    by: []
    measure: {{most: max(txs)}}
    over: 10s
    pane: 1s
    technique: full
    fire: most > 1000
    resolve_after: 1m
"""
OPENING = [(0.0, 500), (5.0, 500), (30.0, 500), (120.0, 500)]
WORSE = [(130.0, 500), (400.0, 2_000), (420.0, 2_000), (900.0, 500), (1_000.0, 500)]


@pytest.fixture(autouse=True)
def said(monkeypatch: pytest.MonkeyPatch) -> Said:
    return scripted(monkeypatch)


class SetClock:
    """One life of an engine on a machine whose wall clock a test sets, in seconds behind `START`."""

    def __init__(self, said: Said, slices: Sequence[tuple[float, int]], saved: Checkpoint | None = None) -> None:
        self.clock, self.out, self.wall_s = VirtualClock(), queue.Queue[Bundle](), 3_000.0
        at = saved.positions["snapshots:a"]["at"] if saved is not None else -1.0
        assert isinstance(at, float | int)
        said["snapshots:a"] = [mempool("snapshots:a", second, many) for second, many in slices if second > at]
        options = SourceOptions(follow=True, skew_ns=120 * SECOND)
        self.feed = Feed(["snapshots:a"], options, self.clock, lambda: START + int(self.wall_s * SECOND))
        self.feed.open(saved.positions if saved is not None else {})
        self.watch = LivePipeline(load_text(RULES), "alice", self.feed.kinds)
        if saved is not None:
            self.watch.resume(saved)
        self.loop = EngineLoop(self.watch, self.feed, self.out, self.clock, every_s=360_000.0)

    def run(self, steps: int, seconds: float = 0.0) -> list[Bundle]:
        """Step without waiting, and let so many seconds pass after each; return what went to the writer."""
        for _ in range(steps):
            self.loop._wake.set()
            self.loop.step()
            self.clock.now += seconds
        found = list(self.out.queue)
        self.out.queue.clear()
        return found


def given(bundles: Sequence[Bundle]) -> list[tuple[str, int]]:
    """The notices: the reason, and the number within the case, which make their ids."""
    return [(one.reasons[0].value, one.number) for bundle in bundles for one in bundle.notices]


def saved_in(bundles: Sequence[Bundle]) -> list[Checkpoint]:
    return [bundle.checkpoint for bundle in bundles if bundle.checkpoint is not None]


def case_in(bundles: Sequence[Bundle]) -> str:
    (id_,) = {row.id for bundle in bundles for row in bundle.cases}
    return id_


def acknowledged(case: str, second: float, number: int = 1) -> CaseAct:
    return act(case, "ack", second, number)


def test_while_the_clock_is_behind_an_act_waits_for_a_checkpoint(said: Said) -> None:
    life = SetClock(said, [*OPENING, *WORSE])
    before = life.run(9)
    case = case_in(before)
    assert given(before) == [("opened", 1), ("severity", 2)]
    life.wall_s = 100.0
    life.loop.act((), [acknowledged(case, 100)])
    assert life.feed.unsettled
    after = life.run(6, 3.0)
    (acted,) = (number for number, one in enumerate(after) if ("acknowledged", 3) in given([one]))
    assert saved_in(after[:acted]), "a checkpoint with the act goes out first"
    assert not life.feed.unsettled


def test_a_kill_while_the_clock_is_behind_gives_no_second_acknowledgement(said: Said) -> None:
    life = SetClock(said, [*OPENING, *WORSE])
    begun = life.run(5)
    life.loop._kept = None
    life.loop._keep()
    begun += life.run(4)
    case, saved = case_in(begun), saved_in(begun)[-1]
    life.wall_s = 100.0
    deed = acknowledged(case, 100)
    life.loop.act((), [deed])
    begun += life.run(4)
    again = SetClock(said, [*OPENING, *WORSE], saved)
    again.loop.act((), [deed])
    begun += again.run(9)
    assert len({number for reason, number in given(begun) if reason == "acknowledged"}) == 1


def test_an_act_that_waits_for_its_time_is_saved_with_that_time_at_once(said: Said) -> None:
    life = SetClock(said, OPENING)
    case = case_in(life.run(5))
    life.loop.act((), [acknowledged(case, 705)])
    (saved,) = saved_in(life.run(1))
    said["snapshots:a"] += [mempool("snapshots:a", second, many) for second, many in WORSE]
    first = given(life.run(6))
    again = SetClock(said, [*OPENING, *WORSE], saved)
    again.loop.act((), [acknowledged(case, 705)])
    assert given(again.run(6)) == first == [("severity", 2), ("acknowledged", 3)]


def test_a_run_that_is_given_up_applies_nothing_that_it_cannot_save(said: Said) -> None:
    life = SetClock(said, OPENING)
    case = case_in(life.run(5))
    life.loop.act((), [acknowledged(case, 60)])
    life.loop.give_up()
    assert given(life.run(1)) == []


def test_acts_that_wait_are_bounded_and_come_again(said: Said) -> None:
    life = SetClock(said, OPENING)
    case = case_in(life.run(5))
    life.wall_s = -1_000.0
    many = [acknowledged(case, -1_000, number) for number in range(1, WAITING_ACTS + 1)]
    assert life.loop.act((), many)
    life.run(1)
    assert not life.loop.act((), [acknowledged(case, -1_000, WAITING_ACTS + 1)]), "they stay in the database"
