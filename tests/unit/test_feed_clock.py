"""F2: clocks that are wrong, set right, and what the service does meanwhile, for every source, on virtual clocks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from alerts.notice import ChangeRecord
from tests.support.clock_rig import DAY, HOUR, MINUTE, SECOND, START, Rig
from tests.support.scripted_feed import VirtualClock
from watchdog.archive.writer import EventsWriter
from watchdog.core.batch import Slice
from watchdog.core.kinds import ALL_KINDS
from watchdog.core.source import SourceOptions
from watchdog.service.live_pipeline import LivePipeline
from watchdog.sources.events_file import EventsFileSource
from watchdog.sources.rpc import rounds

SMALL = -130.0
STEPS = [-HOUR, SMALL, 2 * HOUR, 12 * HOUR, -40 * DAY, 400 * DAY]
FAULT, GOOD = 90.0, 60.0


@pytest.fixture(params=["log", "snapshots", "capture", "events"])
def rig(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    made: list[Rig] = []
    plain = rounds.RoundReader.__init__

    def virtual(self: rounds.RoundReader, path: str, follow: bool, needed: frozenset[str], **more: object) -> None:
        plain(self, path, follow, needed, lambda: made[0].clock.now if made else 0.0, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(rounds.RoundReader, "__init__", virtual)
    one = Rig.__new__(Rig)
    made.append(one)
    one.clock = VirtualClock()
    one.__init__(tmp_path, request.param)  # type: ignore[misc]
    yield one
    one.feed.close()


def faults(rig: Rig) -> dict[str, str]:
    return rig.feed.clock_faults


@pytest.mark.parametrize("off", STEPS)
@pytest.mark.parametrize("restarts", [False, True])
def test_both_clocks_are_wrong_and_set_right(rig: Rig, off: float, restarts: bool) -> None:
    rig.run(30)
    rig.wall_off = rig.node_off = off
    rig.run(FAULT)
    if restarts:
        rig.restart()
    rig.wall_off = rig.node_off = 0.0
    if restarts:
        rig.restart()
    rig.run(GOOD)
    assert not faults(rig)
    before = len(rig.opened("attack"))
    rig.run(60, attack=True)
    assert len(rig.opened("attack")) == before + 1
    assert len(rig.opened("data-clock")) == 1
    assert abs(rig.opened("attack")[-1].incident.opened_ns - rig.true_ns) < 120 * SECOND


@pytest.mark.parametrize(("off", "rate"), [*((off, 1) for off in STEPS if off != SMALL), (-HOUR, 9), (2 * HOUR, 9)])
def test_the_clock_of_the_node_alone_is_wrong_and_set_right(rig: Rig, off: float, rate: int) -> None:
    rig.run(30, rate=rate)
    rig.node_off = off
    rig.run(FAULT, rate=rate)
    assert faults(rig), "what is not judged must not look well"
    assert len(rig.opened("data-clock")) == 1
    rig.restart()
    rig.run(30, rate=rate)
    rig.node_off = 0.0
    rig.run(GOOD, rate=rate)
    assert not faults(rig)
    rig.run(60, attack=True)
    assert len(rig.opened("attack")) == 1
    assert len(rig.opened("data-clock")) == 1
    assert len({one.change.id for one in rig.opened("data-clock")}) == 1


def test_a_node_that_is_little_behind_is_judged_in_its_own_time(rig: Rig) -> None:
    rig.run(30)
    rig.node_off = SMALL
    rig.run(60)
    rig.run(60, attack=True)
    assert len(rig.opened("data-clock")) == 1
    if rig.scheme == "events":  # its recorder has promised the time in which it still writes
        assert faults(rig)
        return
    assert len(rig.opened("attack")) == 1
    assert not faults(rig)


def test_incidents_of_a_clock_that_was_ahead_resolve_and_none_is_stuck_in_the_future(rig: Rig) -> None:
    rig.run(20)
    rig.wall_off = rig.node_off = 12 * HOUR
    rig.run(60, attack=True)
    assert rig.opened("attack")[0].incident.opened_ns > rig.true_ns + 11 * HOUR * SECOND
    rig.wall_off = rig.node_off = 0.0
    rig.run(11 * MINUTE, rate=5)
    last = {one.incident.id: one.incident for one in rig.told}
    assert {one.rule: one.state.value for one in last.values()} == {"attack": "resolved", "data-clock": "resolved"}
    for one in last.values():
        assert one.opened_ns <= (one.resolved_ns or 0) <= rig.true_ns
    assert len(last) == 2


def test_a_service_that_stops_ahead_of_time_keeps_no_state_of_the_future(rig: Rig) -> None:
    rig.run(20)
    rig.wall_off = rig.node_off = HOUR
    rig.run(20)
    kept = rig.saved
    assert kept is not None
    rig.wall_off = rig.node_off = 0.0
    rig.loop._keep()
    rig.gather()
    assert rig.saved is kept, "its promises are of the future"
    rig.run(2)
    assert rig.saved is not kept
    assert max(rig.loop.watch.engine.marks.values()) <= rig.wall_ns() + 120 * SECOND
    assert rig.feed.channels[0].times.faults == 1


def test_a_recording_made_across_the_step_says_the_same(rig: Rig, tmp_path: Path) -> None:
    made: list[Slice] = []
    process = rig.loop.watch.process

    def noted(slice_: Slice) -> list[ChangeRecord]:
        made.append(slice_)
        return process(slice_)

    rig.loop.watch.process = noted  # type: ignore[method-assign]
    rig.run(30)
    rig.wall_off = rig.node_off = 2 * HOUR
    rig.run(40, attack=True)
    rig.wall_off = rig.node_off = 0.0
    rig.run(20)
    rig.run(40, attack=True)
    assert len(rig.opened("attack")) == 1, "the same attack goes on"
    out = tmp_path / "made.events"
    with EventsWriter(out, tuple(rig.feed.names)) as file:
        for one in made:
            file.write(one)
    watch = LivePipeline(rig.rules, "node", {f"events:{out}": ALL_KINDS})
    source = EventsFileSource(str(out), SourceOptions(wall_ns=lambda: START + int(DAY) * SECOND))
    told = [record for piece in iter(source.poll, None) for record in watch.process(piece)]
    wanted = [one.change for one in rig.told if one.incident.rule == "attack"]
    assert [one.change for one in told][: len(wanted)] == wanted
