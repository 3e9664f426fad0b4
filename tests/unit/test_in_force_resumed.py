"""One source in force over kills: the decision is in the checkpoint before it has an effect."""

from __future__ import annotations

import queue
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from alerts.notice import ChangeRecord
from rules.load import load_text
from tests.support.scripted_feed import SECOND, START, Script, VirtualClock
from tests.unit.test_in_force import CAPTURE, STREAM, events, said  # noqa: F401 - a fixture
from watchdog.core.batch import Slice
from watchdog.core.source import Source, SourceOptions
from watchdog.pipeline.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from watchdog.service import feed as feed_module
from watchdog.service.engine_thread import Bundle, EngineLoop
from watchdog.service.feed import Feed
from watchdog.service.live_pipeline import LivePipeline

END_S = 120
AWAY = range(40, 90)  # the stream gives nothing
ANY = load_text("""
rules:
  any: {title: Pings, attack: resource, severity: warning, on: p2p:ping, over: 10s, pane: 1s, measure: {n: count()},
        fire: n > 8, resolve_after: 1m, summary: "{n}"}
  twice: {title: Pings that count twice, attack: resource, severity: warning, on: p2p:ping, over: 10s, pane: 1s,
          measure: {n: count()}, fire: n > 10, resolve_after: 1m, summary: "{n}"}
  few: {title: No ping, attack: resource, severity: high, on: p2p:ping, over: 5s, pane: 1s, measure: {n: count()},
        fire: n < 1, resolve_after: 1m, summary: "{n}"}
""")


class Tape(Script):
    """A source that can be read again from a position: an event each second up to the clock's."""

    def __init__(self, name: str, at: int, clock: VirtualClock) -> None:
        super().__init__(name, [])
        self._at, self._clock = at, clock

    def poll(self) -> Slice | None:
        now = int(self._clock.now)
        if self.name == STREAM:
            while self._at + 1 in AWAY:
                self._at += 1
        if self._at + 1 > now:
            return None
        self._at += 1
        return events(self.name, self._at)


@dataclass
class Life:
    """One life of a service: an engine loop over both tapes. checkpoints: as the writer would get them, in order."""

    clock: VirtualClock
    saved: Checkpoint | None
    out: queue.Queue[Bundle] = field(default_factory=lambda: queue.Queue(10_000))

    def __post_init__(self) -> None:
        self.feed = Feed([CAPTURE, STREAM], SourceOptions(follow=True), self.clock)
        self.feed.open(self.saved.positions if self.saved else {})
        watch = LivePipeline(ANY, "node", self.feed.kinds)
        if self.saved is not None:
            watch.resume(self.saved)
        self.feed.keep_promises(watch.engine.marks)
        self.feed.in_force.restore(self.saved.in_force if self.saved else {}, watch.engine.marks)
        self.loop = EngineLoop(watch, self.feed, self.out, self.clock, every_s=7.0)
        self.loop._wake.set()

    def run(self, until_s: int, steps: int = 1 << 30) -> bool:
        """Run until this second, with a bound of steps; return whether the second was reached."""
        while self.clock.now < until_s:
            if steps == 0:
                return False
            steps -= 1
            idle = self.loop.counts.idle_s
            self.loop._wake.set()
            self.loop.step()
            if self.loop.counts.idle_s != idle:
                self.clock.now += 1.0
        return True

    def taken(self) -> list[Bundle]:
        return list(self.out.queue)


@pytest.fixture
def lives(monkeypatch: pytest.MonkeyPatch, said: object) -> VirtualClock:  # noqa: F811
    clock = VirtualClock()
    clock.now = 0.0

    def opened(texts: list[str], options: SourceOptions) -> list[Source]:
        positions = options.position or {}
        places = cast("Mapping[str, Mapping[str, int]]", positions)
        return [Tape(text, places[text]["at"] if text in places else 0, clock) for text in texts]

    monkeypatch.setattr(feed_module, "open_sources", opened)
    return clock


Change = tuple[str, int, str, int]


def changes(records: list[ChangeRecord]) -> list[Change]:
    return [(one.incident.rule, one.change.sequence, one.change.reason.value, one.change.time_ns) for one in records]


def of(bundles: list[Bundle]) -> list[Change]:
    return changes(
        [record for bundle in bundles for record in bundle.records if record.incident.rule in ("any", "twice", "few")]
    )


def test_a_life_without_a_kill_sees_the_change_and_no_event_twice(lives: VirtualClock) -> None:
    life = Life(lives, None)
    life.run(END_S)
    assert life.feed.in_force.standings[0].current == CAPTURE
    found = [one[:3:2] for one in of(life.taken())]
    assert found.count(("any", "opened")) == 1
    assert ("twice", "opened") not in found
    assert "few" not in dict(found), "the silence before the change is a gap, not a node without pings"


def test_a_kill_after_the_decision_changes_nothing(lives: VirtualClock, tmp_path: Path) -> None:
    whole = Life(lives, None)
    whole.run(END_S)
    expected = of(whole.taken())
    decided = [
        number
        for number, bundle in enumerate(whole.taken())
        if bundle.checkpoint is not None
        and any(current == CAPTURE for current, _, _ in bundle.checkpoint.in_force.values())
    ]
    first = whole.taken()[decided[0]].checkpoint
    assert first is not None
    ((_, gap_from_ns, _),) = first.in_force.values()
    assert gap_from_ns == START + 39 * SECOND, "saved before the first event of the new source"
    for number in decided:
        saved = whole.taken()[number].checkpoint
        assert saved is not None
        path = tmp_path / f"{number}.checkpoint"
        write_checkpoint(path, saved)
        lives.now = 75.0
        again = Life(lives, read_checkpoint(path))
        assert again.feed.in_force.standings[0].current == CAPTURE
        again.run(END_S)
        before = of(whole.taken()[:number])
        assert before + of(again.taken()) == expected, f"resumed from checkpoint {number}"


def test_kills_at_every_step_count_no_event_twice(lives: VirtualClock) -> None:
    for steps in range(40, 160, 7):
        lives.now, saved, second = 0.0, None, 0
        for _ in range(6):
            life = Life(lives, saved)
            life.run(END_S, steps)
            checkpoints = [one.checkpoint for one in life.taken() if one.checkpoint is not None]
            saved = checkpoints[-1] if checkpoints else saved
            assert "twice" not in {one[0] for one in of(life.taken())}, f"killed each {steps} steps"
            second = max(second, int(lives.now))
        assert second > 40
